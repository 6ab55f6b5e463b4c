"""Run an experiment: `python run.py benchmark=tmdb search=beam prm=qwen7b`; `python run.py --help` lists the words."""

from codetool.__main__ import main

if __name__ == "__main__":
    main()
