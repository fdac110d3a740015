"""The TensorFlow operators that an accelerator runs, whatever a client asks for.

What is here computes its outputs from its inputs and attributes, and does nothing else: it opens
no file, reaches no network, calls no Python, loads no library, writes no log and leaves nothing
behind for another call or client. Tables are here with the operators that fill them from values
in the graph, not from files; random numbers, since they tell and change nothing. Decoders of
pictures, sounds and records are not: they belong to the instance, and code that parses bytes from
outside is what an accelerator has least use for.

Operators that write into their inputs are left out as well (a constant, or a request's tensor,
would keep it for the next call), and those that may answer memory which nobody has written.

An operator that is not named here is refused, whether TensorFlow knows it or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_STRUCTURE = """
    Assert Bitcast BroadcastArgs BroadcastGradientArgs BroadcastTo Case Cast CheckNumerics
    CheckNumericsV2 Concat ConcatOffset ConcatV2 Const ControlTrigger DynamicPartition DynamicStitch
    EnsureShape Enter Exit ExpandDims FakeParam Fill For Gather GatherNd GatherV2 GuaranteeConst
    Identity IdentityN If InvertPermutation LinSpace ListDiff LoopCond LowerBound MapDefun Merge
    MirrorPad NextIteration NoOp OneHot OnesLike Pack Pad PadV2 ParallelDynamicStitch
    PartitionedCall Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient Range Rank
    Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd ScatterNdNonAliasingAdd Select SelectV2
    Shape ShapeN Size Slice Snapshot Split SplitV Squeeze StatefulPartitionedCall StatelessCase
    StatelessIf StatelessWhile StopGradient StridedSlice Switch TensorScatterAdd TensorScatterMax
    TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile ToBool
    Transpose ConjugateTranspose Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack
    UnravelIndex UpperBound VariableShape Where While ZerosLike
"""

_MATHEMATICS = """
    Abs AccumulateNV2 Acos Acosh Add AddN AddV2 All Angle Any ApproxTopK ApproximateEqual ArgMax
    ArgMin Asin Asinh Atan Atan2 Atanh BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0 BesselJ1
    BesselK0 BesselK0e BesselK1 BesselK1e BesselY0 BesselY1 Betainc Bincount BitwiseAnd BitwiseOr
    BitwiseXor Bucketize Ceil ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum
    CumulativeLogsumexp Dawsn DenseBincount Digamma Div DivNoNan Equal Erf Erfc Erfinv
    EuclideanNorm Exp Expint Expm1 Floor FloorDiv FloorMod FresnelCos FresnelSin Greater
    GreaterEqual HistogramFixedWidth Igamma Igammac Imag InTopK InTopKV2 Inv Invert IsFinite IsInf
    IsNan IsotonicRegression LeftShift Less LessEqual Lgamma Log Log1p LogicalAnd LogicalNot
    LogicalOr Max Maximum Mean Min Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual NthElement
    Polygamma PopulationCount Pow Prod Real RealDiv Reciprocal RightShift Rint Round Rsqrt
    SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd SegmentProdV2 SegmentSum
    SegmentSumV2 Sign Sin Sinh SobolSample Spence Sqrt Square SquaredDifference Sub Sum Tan
    TopK TopKV2 TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    UnsortedSegmentSum Xdivy Xlog1py Xlogy Zeta
    BatchFFT BatchFFT2D BatchFFT3D BatchIFFT BatchIFFT2D BatchIFFT3D FFT FFT2D FFT3D FFTND IFFT
    IFFT2D IFFT3D IFFTND IRFFT IRFFT2D IRFFT3D IRFFTND RFFT RFFT2D RFFT3D RFFTND
"""

_MATRICES = """
    BandedTriangularSolve BatchCholesky BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchMatrixBandPart
    BatchMatrixDeterminant BatchMatrixDiag BatchMatrixDiagPart BatchMatrixInverse
    BatchMatrixSetDiag BatchMatrixSolve BatchMatrixSolveLs BatchMatrixTriangularSolve
    BatchSelfAdjointEig BatchSelfAdjointEigV2 BatchSvd Cholesky Diag DiagPart Eig Einsum L2Loss
    LogMatrixDeterminant Lu MatMul MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart
    MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixExponential MatrixInverse
    MatrixLogarithm MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve MatrixSolveLs
    MatrixSquareRoot MatrixTriangularSolve Qr SelfAdjointEig SelfAdjointEigV2 Svd TridiagonalMatMul
    TridiagonalSolve _FusedMatMul
"""

_NETWORKS = """
    AvgPool AvgPool3D BatchNormWithGlobalNormalization BatchToSpace BatchToSpaceND BiasAdd BiasAddV1
    BlockLSTM BlockLSTMV2 CTCBeamSearchDecoder CTCGreedyDecoder Conv Conv2D Conv2DBackpropInput
    Conv2DBackpropInputV2 Conv3D Conv3DBackpropInput Conv3DBackpropInputV2 DataFormatDimMap
    DataFormatVecPermute DepthToSpace DepthwiseConv2dNative DepthwiseConv2dNativeBackpropInput
    Dilation2D Elu FractionalAvgPool FractionalMaxPool FusedBatchNorm FusedBatchNormV2
    FusedBatchNormV3 FusedPadConv2D FusedResizeAndPadConv2D GRUBlockCell LRN LSTMBlockCell LeakyRelu
    LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax Relu Relu6 Selu Sigmoid Softmax
    SoftmaxCrossEntropyWithLogits Softplus Softsign SpaceToBatch SpaceToBatchND SpaceToDepth
    SparseSoftmaxCrossEntropyWithLogits Tanh _FusedBatchNormEx _FusedConv2D
    _FusedDepthwiseConv2dNative
    Dequantize FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel
    QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4
    QuantizeDownAndShrinkRange QuantizeV2 QuantizedAdd QuantizedAvgPool QuantizedBiasAdd
    QuantizedConcat QuantizedConv2D QuantizedInstanceNorm QuantizedMatMul QuantizedMaxPool
    QuantizedMul QuantizedRelu QuantizedRelu6 QuantizedReluX QuantizedReshape
    QuantizedResizeBilinear RequantizationRange RequantizationRangePerChannel Requantize
    RequantizePerChannel
"""

_PICTURES = """
    AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation AudioSpectrogram
    CombinedNonMaxSuppression CropAndResize DrawBoundingBoxes DrawBoundingBoxesV2 ExtractGlimpse
    ExtractGlimpseV2 ExtractImagePatches ExtractVolumePatches GenerateBoundingBoxProposals HSVToRGB
    ImageProjectiveTransformV2 ImageProjectiveTransformV3 Mfcc NearestNeighbors NonMaxSuppression
    NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5
    NonMaxSuppressionWithOverlaps RGBToHSV ResizeArea ResizeBicubic ResizeBilinear
    ResizeNearestNeighbor SampleDistortedBoundingBox SampleDistortedBoundingBoxV2
    StatelessSampleDistortedBoundingBox ScaleAndTranslate
"""

_TEXTS = """
    AsString EditDistance Fingerprint ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch
    StaticRegexReplace StringFormat StringJoin StringLength StringLower StringNGrams StringSplit
    StringSplitV2 StringStrip StringToHashBucket StringToHashBucketFast StringToHashBucketStrong
    StringToNumber StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode
    UnicodeScript UnicodeTranscode UnsortedSegmentJoin DecodeBase64 EncodeBase64 DecodeRaw
    DecodePaddedRaw
"""

_SPARSE = """
    DenseCountSparseOutput DenseToDenseSetOperation DenseToSparseSetOperation RaggedBincount
    RaggedCountSparseOutput RaggedCross RaggedFillEmptyRows RaggedGather RaggedRange
    RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant SetSize
    SparseAdd SparseBincount SparseConcat SparseCountSparseOutput SparseCross SparseCrossHashed
    SparseCrossV2 SparseDenseCwiseAdd SparseDenseCwiseDiv SparseDenseCwiseMul SparseFillEmptyRows
    SparseMatMul SparseReduceMax SparseReduceMaxSparse SparseReduceSum SparseReduceSumSparse
    SparseReorder SparseReshape SparseSegmentMean SparseSegmentMeanWithNumSegments
    SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments SparseSegmentSum
    SparseSegmentSumWithNumSegments SparseSlice SparseSoftmax SparseSparseMaximum
    SparseSparseMinimum SparseSplit SparseTensorDenseAdd SparseTensorDenseMatMul SparseToDense
    SparseToSparseSetOperation
"""

_LISTS = """
    EmptyTensorList EmptyTensorMap TensorListConcat TensorListConcatLists TensorListConcatV2
    TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
    TensorListPopBack TensorListPushBack TensorListPushBackBatch TensorListReserve TensorListResize
    TensorListScatter TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem
    TensorListSplit TensorListStack TensorMapErase TensorMapHasKey TensorMapInsert TensorMapLookup
    TensorMapSize TensorMapStackKeys
    TensorArray TensorArrayClose TensorArrayCloseV2 TensorArrayCloseV3 TensorArrayConcat
    TensorArrayConcatV2 TensorArrayConcatV3 TensorArrayGather TensorArrayGatherV2
    TensorArrayGatherV3 TensorArrayPack TensorArrayRead TensorArrayReadV2 TensorArrayReadV3
    TensorArrayScatter TensorArrayScatterV2 TensorArrayScatterV3 TensorArraySize TensorArraySizeV2
    TensorArraySizeV3 TensorArraySplit TensorArraySplitV2 TensorArraySplitV3 TensorArrayUnpack
    TensorArrayV2 TensorArrayV3 TensorArrayWrite TensorArrayWriteV2 TensorArrayWriteV3
"""

_TABLES = """
    AnonymousHashTable HashTable HashTableV2 InitializeTable InitializeTableV2 LookupTableFind
    LookupTableFindV2 LookupTableImport LookupTableImportV2 LookupTableSize LookupTableSizeV2
"""

_RANDOM = """
    Multinomial ParameterizedTruncatedNormal RandomGamma RandomIndexShuffle RandomPoisson
    RandomPoissonV2 RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt
    StatelessMultinomial StatelessParameterizedTruncatedNormal StatelessRandomBinomial
    StatelessRandomGammaV2 StatelessRandomGammaV3 StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform
    StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessRandomUniformInt
    StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessShuffle StatelessTruncatedNormal
    StatelessTruncatedNormalV2 TruncatedNormal
"""

BY_PURPOSE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "structure and control flow": frozenset(_STRUCTURE.split()),
        "mathematics": frozenset(_MATHEMATICS.split()),
        "matrices": frozenset(_MATRICES.split()),
        "networks": frozenset(_NETWORKS.split()),
        "pictures and sounds": frozenset(_PICTURES.split()),
        "texts": frozenset(_TEXTS.split()),
        "sparse and ragged tensors": frozenset(_SPARSE.split()),
        "lists and arrays of tensors": frozenset(_LISTS.split()),
        "tables": frozenset(_TABLES.split()),
        "random numbers": frozenset(_RANDOM.split()),
    }
)
ALLOWED: frozenset[str] = frozenset().union(*BY_PURPOSE.values())
