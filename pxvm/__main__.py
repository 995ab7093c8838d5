"""``python -m pxvm`` is ``pxvm``."""

from pxvm.cli import main

if __name__ == "__main__":
    main()
