"""What an error says of the device."""

import pytest
import torch

from harness.engine.failures import DeviceFailed, device_failure, reason_of

ASYNCHRONOUS = "\nCUDA kernel errors might be asynchronously reported at some other API call"


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("CUDA error: device-side assert triggered", ": an index or a label is out of range"),
        ("CUDA error: an illegal memory access was encountered", ": a kernel left its memory"),
        ("CUDA error: uncorrectable ECC error encountered", ": the GPU's memory is faulty"),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", "CUDNN_STATUS_EXECUTION_FAILED"),
        ("CUDA error: unspecified launch failure", "CUDA error: unspecified launch failure"),
    ],
)
def test_a_lost_device_is_one_line(text: str, ending: str):
    failure = device_failure(RuntimeError(text + ASYNCHRONOUS))
    assert failure is not None
    line = str(failure)
    assert line.startswith(
        "the worker process died after an error of its GPU, C"
        if text[0] == "C"
        else "the worker process died after an error of its GPU, cuDNN"
    )
    assert line.endswith(ending)
    assert "\n" not in line
    assert "asynchronously" not in line
    assert device_failure(failure) is failure


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("CUDA error: said by a method"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_other_errors_leave_the_device_alone(error: Exception):
    assert device_failure(error) is None


def test_memory_is_a_reason_of_its_own():
    assert reason_of(RuntimeError("CUDA error: out of memory"), 64).startswith(
        "out of memory with 64 images at once"
    )
    assert isinstance(device_failure(DeviceFailed("gone")), DeviceFailed)
