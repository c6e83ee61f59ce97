"""`finetune`: fine-tunes an encoder, one checkpoint per fold, on the labels that the fold may use."""
