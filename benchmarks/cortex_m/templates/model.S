  .section .rodata.model, "a"
  .balign 16
  .global model
model:
  .incbin "model.tflite"
