"""The messages of gRPC's inference and health services, as their clients know them.

`inference.GRPCInferenceService` is the Open Inference Protocol's service with the extensions
of Triton: https://github.com/triton-inference-server/common/blob/main/protobuf and
https://github.com/kserve/open-inference-protocol. `grpc.health.v1.Health` is
https://github.com/grpc/grpc/blob/master/doc/health-checking.md.
"""

from __future__ import annotations

from elastic_inference.protocol.protobuf import parse_proto

INFERENCE_SERVICE = "inference.GRPCInferenceService"
HEALTH_SERVICE = "grpc.health.v1.Health"

# HealthCheckResponse.ServingStatus
SERVING = 1
NOT_SERVING = 2
SERVICE_UNKNOWN = 3

# DataType of a model's configuration; what is not here has no name there.
DATA_TYPES = {
    f"TYPE_{name}": number
    for number, name in enumerate(
        (
            *("INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64"),
            *("INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "STRING", "BF16"),
        )
    )
}

MESSAGES = parse_proto("""
message Empty {
}
message HealthCheckRequest {
  string service = 1;
}
message HealthCheckResponse {
  enum status = 1;
}

message ServerLiveResponse {
  bool live = 1;
}
message ServerReadyResponse {
  bool ready = 1;
}
message ModelVersion {
  string name = 1;
  string version = 2;
}
message ModelReadyResponse {
  bool ready = 1;
}
message ServerMetadataResponse {
  string name = 1;
  string version = 2;
  repeated string extensions = 3;
}
message TensorMetadata {
  string name = 1;
  string datatype = 2;
  repeated int64 shape = 3;
}
message ModelMetadataResponse {
  string name = 1;
  repeated string versions = 2;
  string platform = 3;
  repeated TensorMetadata inputs = 4;
  repeated TensorMetadata outputs = 5;
}

message InferParameter {
  oneof parameter_choice {
    bool bool_param = 1;
    int64 int64_param = 2;
    string string_param = 3;
    double double_param = 4;
    uint64 uint64_param = 5;
  }
}
message InferTensorContents {
  repeated bool bool_contents = 1;
  repeated int32 int_contents = 2;
  repeated int64 int64_contents = 3;
  repeated uint32 uint_contents = 4;
  repeated uint64 uint64_contents = 5;
  repeated float fp32_contents = 6;
  repeated double fp64_contents = 7;
  repeated bytes bytes_contents = 8;
}
message InferInputTensor {
  string name = 1;
  string datatype = 2;
  repeated int64 shape = 3;
  map<string, InferParameter> parameters = 4;
  InferTensorContents contents = 5;
}
message InferRequestedOutputTensor {
  string name = 1;
  map<string, InferParameter> parameters = 2;
}
message ModelInferRequest {
  string model_name = 1;
  string model_version = 2;
  string id = 3;
  map<string, InferParameter> parameters = 4;
  repeated InferInputTensor inputs = 5;
  repeated InferRequestedOutputTensor outputs = 6;
  repeated span raw_input_contents = 7;
}
message InferOutputTensor {
  string name = 1;
  string datatype = 2;
  repeated int64 shape = 3;
  map<string, InferParameter> parameters = 4;
  InferTensorContents contents = 5;
}
message ModelInferResponse {
  string model_name = 1;
  string model_version = 2;
  string id = 3;
  map<string, InferParameter> parameters = 4;
  repeated InferOutputTensor outputs = 5;
  repeated bytes raw_output_contents = 6;
}
message ModelStreamInferResponse {
  string error_message = 1;
  ModelInferResponse infer_response = 2;
}

message ModelTensor {
  string name = 1;
  enum data_type = 2;
  repeated int64 dims = 4;
}
message ModelOutput {
  string name = 1;
  enum data_type = 2;
  repeated int64 dims = 3;
}
message ModelConfig {
  string name = 1;
  string platform = 2;
  string backend = 17;
  int32 max_batch_size = 4;
  repeated ModelTensor input = 5;
  repeated ModelOutput output = 6;
}
message ModelConfigResponse {
  ModelConfig config = 1;
}

message StatisticDuration {
  uint64 count = 1;
  uint64 ns = 2;
}
message InferStatistics {
  StatisticDuration success = 1;
  StatisticDuration fail = 2;
  StatisticDuration queue = 3;
  StatisticDuration compute_input = 4;
  StatisticDuration compute_infer = 5;
  StatisticDuration compute_output = 6;
  StatisticDuration cache_hit = 7;
  StatisticDuration cache_miss = 8;
}
message InferResponseStatistics {
  StatisticDuration compute_infer = 1;
  StatisticDuration compute_output = 2;
  StatisticDuration success = 3;
  StatisticDuration fail = 4;
  StatisticDuration empty_response = 5;
  StatisticDuration cancel = 6;
}
message InferBatchStatistics {
  uint64 batch_size = 1;
  StatisticDuration compute_input = 2;
  StatisticDuration compute_infer = 3;
  StatisticDuration compute_output = 4;
}
message MemoryUsage {
  string type = 1;
  int64 id = 2;
  uint64 byte_size = 3;
}
message ModelStatistics {
  string name = 1;
  string version = 2;
  uint64 last_inference = 3;
  uint64 inference_count = 4;
  uint64 execution_count = 5;
  InferStatistics inference_stats = 6;
  repeated InferBatchStatistics batch_stats = 7;
  repeated MemoryUsage memory_usage = 8;
  map<string, InferResponseStatistics> response_stats = 9;
}
message ModelStatisticsResponse {
  repeated ModelStatistics model_stats = 1;
}

message ModelRepositoryParameter {
  oneof parameter_choice {
    bool bool_param = 1;
    int64 int64_param = 2;
    string string_param = 3;
    bytes bytes_param = 4;
  }
}
message RepositoryIndexRequest {
  string repository_name = 1;
  bool ready = 2;
}
message ModelIndex {
  string name = 1;
  string version = 2;
  string state = 3;
  string reason = 4;
}
message RepositoryIndexResponse {
  repeated ModelIndex models = 1;
}
message RepositoryModelRequest {
  string repository_name = 1;
  string model_name = 2;
  map<string, ModelRepositoryParameter> parameters = 3;
}

message RegionName {
  string name = 1;
}
message SystemRegionStatus {
  string name = 1;
  string key = 2;
  uint64 offset = 3;
  uint64 byte_size = 4;
}
message SystemSharedMemoryStatusResponse {
  map<string, SystemRegionStatus> regions = 1;
}
message SystemSharedMemoryRegisterRequest {
  string name = 1;
  string key = 2;
  uint64 offset = 3;
  uint64 byte_size = 4;
}
""")
