"""Compares five backbones of equal multiply-adds in one detector (V1 Table 7, V2 Table 7).

ShuffleNet V1, V2 and V2*, MobileNetV2 and an Xception-like network get the same neck and head and,
with --train, the same training, from random weights. By default it is small: 192 pixels, 500 steps.

Examples:
  python -m experiments.detection --train --data_dir=bccd --flip_vertical
  python -m experiments.detection --train --data_dir=coco --train_split=train2017 \
    --eval_split=val2017 --input_size=320 --epochs=100 --batch_size=64 --learning_rate=2e-3
"""

from common import cli
from experiments import command

main = command.define("detection")

if __name__ == "__main__":
    cli.run(main)
