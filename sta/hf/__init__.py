"""STA on the video classifiers of Hugging Face transformers, in place; imports no transformers."""
