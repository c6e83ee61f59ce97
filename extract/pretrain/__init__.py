"""`pretrain`: pre-trains an encoder on a folder of audio, without labels."""
