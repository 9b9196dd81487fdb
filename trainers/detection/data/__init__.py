"""Data sets of boxes: COCO, Pascal VOC and YOLO, in one form."""
