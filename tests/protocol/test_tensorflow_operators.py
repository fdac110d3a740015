"""What an accelerator runs of TensorFlow, against TensorFlow's own list of operators."""

from __future__ import annotations

import re
from typing import Any

import pytest

from elastic_inference.protocol.tensorflow_operators import ALLOWED, BY_PURPOSE

_STRING = 7
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
    assert sorted(ALLOWED - _registry().keys()) == []


def test_none_takes_the_name_of_a_file() -> None:
    pytest.importorskip("tensorflow")
    texts = {
        each.name
        for name, operator in _registry().items()
        if name in ALLOWED
        for each in (*operator.input_arg, *operator.attr)
        if each.type in (_STRING, "string")
    }
    named = re.compile(r"file|path|prefix|address|target|device|token|dir|command|library|proto$")
    # How a function is called is dropped from a graph.
    assert {text for text in texts if named.search(text)} <= {"config_proto"}


def test_which_keep_something_is_known() -> None:
    """TensorFlow calls stateful what it must not run twice, or not at another time."""
    pytest.importorskip("tensorflow")
    stateful = {
        name for name, operator in _registry().items() if name in ALLOWED and operator.is_stateful
    }
    calls = {"While", "If", "Case", "StatefulPartitionedCall"}
    checks = {"Assert", "CheckNumerics", "CheckNumericsV2", "GuaranteeConst", "VariableShape"}
    # They live for one call.
    arrays = {name for name in stateful if name.startswith("TensorArray")}
    unlike = stateful - calls - checks - arrays - BY_PURPOSE["random numbers"]
    assert unlike <= BY_PURPOSE["tables"] | {
        *("SampleDistortedBoundingBox", "SampleDistortedBoundingBoxV2"),
    }


def test_none_writes_into_a_variable() -> None:
    pytest.importorskip("tensorflow")
    references = {
        name
        for name, operator in _registry().items()
        if name in ALLOWED and any(each.is_ref for each in operator.input_arg)
    }
    assert {name for name in references if not re.match(r"TensorArray|LookupTable", name)} == {
        "InitializeTable"
    }


def _registry() -> dict[str, Any]:
    """TensorFlow's descriptions of its operators, by name."""
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session as native

    everything = op_def_pb2.OpList.FromString(native.TF_GetBuffer(native.TF_GetAllOpList()))
    return {operator.name: operator for operator in everything.op}


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
        *("Empty", "InplaceUpdate", "InplaceAdd", "DeepCopy", "_Arg", "_Retval", "Timestamp"),
    ],
)
def test_what_may_not_run(name: str) -> None:
    assert name not in ALLOWED


def test_each_is_named_once() -> None:
    assert sum(map(len, BY_PURPOSE.values())) == len(ALLOWED)
