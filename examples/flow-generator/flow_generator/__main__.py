"""``python -m flow_generator DATA --steps N --out FILE``."""

from flow_generator.training import main

if __name__ == "__main__":
    main()
