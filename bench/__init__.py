"""What uploadkit costs and how fast it is, each figure beside the floor that this machine and its servers set.

`python -m bench` prints it, and `python -m bench --page` writes docs/performance.md as well. Linux only, since it reads /proc.
"""
