# The CPU image:   docker build --tag emofuse .
# With CUDA:       docker build --tag emofuse:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
# The demo:        docker run --rm emofuse
# A command:       docker run --rm --volume "$PWD:/work" emofuse emofuse store info cache/iemocap.h5
# With a GPU:      docker run --rm --gpus all --volume "$PWD:/work" emofuse:cuda fit --store cache/iemocap.h5
FROM python:3.12-slim

# torch's builds carry CUDA themselves: the base image needs none.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# More extras, such as `extract,report,onnx`.
ARG EXTRAS=extract,report

WORKDIR /source
COPY constraints.txt ./
# The largest layer, which a change of the code does not build again.
RUN python -m pip install --no-cache-dir -c constraints.txt --index-url "$TORCH_INDEX" torch torchaudio
COPY . .
RUN python -m pip install --no-cache-dir -c constraints.txt ".[$EXTRAS]" && rm -r /source/*

# Files that a run writes in a mounted folder belong to user 1000, or to that of `docker run --user`.
RUN useradd --uid 1000 --create-home emofuse && install -d -o emofuse /work
USER 1000
WORKDIR /work
CMD ["emofuse", "demo"]
