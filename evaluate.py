"""Scores a run on its test volumes: python evaluate.py --run_dir=runs/acdc/ntr10/bwcr/run1."""

import runpy

if __name__ == "__main__":
    runpy.run_module("bwcr_tf.evaluation", run_name="__main__", alter_sys=True)
