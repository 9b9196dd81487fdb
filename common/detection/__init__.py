"""Detections without a framework: boxes from raw outputs, suppression, average precision."""
