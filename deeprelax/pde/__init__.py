"""The partial differential equations behind the optimizers, solved on grids, and what the paper claims of them.

    heat              u_t = temperature/2 lap u                        solvers/heat.py
    viscous HJ        u_t = -1/2 |grad u|^2 + temperature/2 lap u      solvers/cole_hopf.py, solvers/godunov.py
    HJ                u_t = -1/2 |grad u|^2                            solvers/hopf_lax.py, solvers/godunov.py
    Fokker-Planck     rho_t = div(rho grad f) + diffusivity lap rho    solvers/fokker_planck.py

u(x, 0) = f(x); the time is the optimizers' gamma, the temperature 1/beta (Chaudhari et al., arXiv 1704.04932). Knows
numpy, scipy and matplotlib; torch only where optimizers are run on these functions (losses.py) or a network's states
are followed along its depth (hamiltonian_depth.py), and then late.
"""
