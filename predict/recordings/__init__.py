"""What is to be predicted: files, folders and manifests, cut into windows."""
