"""Text: where it comes from, how it is cut into tokens, and rows of tokens on disk.

sources    documents out of files, out of the Hugging Face hub, or of Python's standard library
split      which documents are for training, for validation and for testing
tokenizer  tokens of a text and back: a tokenizer of others, or one trained here
table      a source's tokens on disk, made once, and rows of them
ngram      the n-gram model that a language model's loss is held against
"""
