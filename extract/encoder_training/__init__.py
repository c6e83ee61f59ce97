"""What `finetune` and `pretrain` share: the life of a run folder, and the training checkpoint of an encoder."""
