"""`python -m codetool` is `python run.py`."""

from codetool.stages.main import main

if __name__ == "__main__":
    main()
