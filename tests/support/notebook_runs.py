"""Run a notebook, and say in one line when its kernel is what is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import NoSuchKernel
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient


class KernelError(Exception):
    """The kernel is missing or does not start; the cells are not to blame."""


def run_notebook(notebook: Any, folder: Path, timeout: int = 120, kernel: str = "python3") -> None:
    """Run all cells.

    Args:
        notebook: As nbformat reads it.
        folder: The working folder of the kernel.
        timeout: Seconds for one cell.
        kernel: The name of an installed kernel.

    Raises:
        CellExecutionError: A cell raises.
        KernelError: The kernel is missing or broken.
    """
    try:
        manager, client = start_new_kernel(kernel_name=kernel, cwd=str(folder))
    except (NoSuchKernel, RuntimeError, OSError) as error:
        cure = "`pip install ipykernel`, or remove a kernel whose Python is gone (`jupyter kernelspec list`)"
        raise KernelError(f"the notebook kernel {kernel} is broken: {error}; {cure}") from None
    client.stop_channels()
    try:
        NotebookClient(notebook, timeout=timeout, km=manager).execute()
    finally:
        manager.shutdown_kernel(now=True)
