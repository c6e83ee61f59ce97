"""The commands of stage 1: `extract`, `finetune`, `pretrain`, `manifest`, `demo`."""
