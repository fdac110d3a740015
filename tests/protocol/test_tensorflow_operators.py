"""What an accelerator runs of TensorFlow, against TensorFlow's own list of operators."""

from __future__ import annotations

import re

import pytest

from elastic_inference.protocol.tensorflow_operators import ALLOWED, BY_PURPOSE

# Operators of this kind have effects beyond their outputs, or read what no input brought.
_DANGEROUS = re.compile(
    r"File|Save|Restore|Summary|PyFunc|Reader|Iterator|Dataset|Queue|Barrier|Variable(?!Shape)|Assign"
    r"|VarHandle|Send|Recv|Rpc|Remote|Nccl|Collective|Print|Debug|Log(ger|ging)|Stage|Session"
    r"|Checkpoint|Mutable|MutexV?|Accumulator|XLA|Xla|TPU|Tpu|Anonymous(?!HashTable)|Experimental"
    r"|ThreadPool|Abort|ImmutableConst|Decode(?!Base64|Raw|PaddedRaw)(?!r)|Parse|Apply|Sdca|Boosted"
    r"|Distribut|Infeed|Outfeed|Timestamp|DeleteSession|GetSession|RngSkip|StatefulR"
)


def test_each_is_an_operator_of_tensorflow_s() -> None:
    pytest.importorskip("tensorflow")
    from tensorflow.python.framework import op_def_registry

    assert [name for name in sorted(ALLOWED) if op_def_registry.get(name) is None] == []


def test_none_has_effects_by_its_name() -> None:
    known = {"UnicodeDecode", "UnicodeDecodeWithOffsets", "CTCBeamSearchDecoder"}
    known |= {"CTCGreedyDecoder"}
    found = {name for name in ALLOWED if _DANGEROUS.search(name)}
    assert found <= known


@pytest.mark.parametrize(
    "name",
    [
        *("ReadFile", "WriteFile", "MatchingFiles", "SaveV2", "RestoreV2", "MergeV2Checkpoints"),
        *("PyFunc", "EagerPyFunc", "PyFuncStateless", "InitializeTableFromTextFileV2"),
        *("PrintV2", "Print", "WriteSummary", "ImmutableConst", "TextLineReaderV2"),
        *("VarHandleOp", "AssignVariableOp", "VariableV2", "FIFOQueueV2", "Abort", "_Send"),
        *("TFRecordDataset", "IteratorGetNext", "RemoteCall", "DecodeJpeg", "ParseExampleV2"),
        *("FileSystemSetConfiguration", "SymbolicGradient", "XlaLaunch", "DebugIdentity", ""),
    ],
)
def test_what_may_not_run(name: str) -> None:
    assert name not in ALLOWED


def test_each_is_named_once() -> None:
    assert sum(map(len, BY_PURPOSE.values())) == len(ALLOWED)
