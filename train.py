"""Trains one method on one data set: python train.py --method=bwcr --dataset=acdc --ntr=10."""

import runpy

if __name__ == "__main__":
    runpy.run_module("bwcr_tf.training", run_name="__main__", alter_sys=True)
