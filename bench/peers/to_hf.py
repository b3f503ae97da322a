"""Writes a GGUF model as a Hugging Face directory (safetensors, bfloat16): to_hf.py MODEL.gguf DIR"""
import os
import sys

os.environ["TQDM_DISABLE"] = "1"
import torch
import transformers.utils.quantization_config as quantization
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, name = os.path.split(os.path.abspath(sys.argv[1]))
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
# transformers drops the digit split that `tokenizer.ggml.pre = smollm` stands for.
tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
model = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=name, dtype=torch.float32,
    quantization_config=quantization.GgufConfig(gguf_file=name, dequantize=True))
model.hf_quantizer = None
model.to(torch.bfloat16).save_pretrained(sys.argv[2])
tokenizer.save_pretrained(sys.argv[2])
