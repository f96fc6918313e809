"""The Python names that a pickle uses -> how dangerous it would be to load it.

Deny by default. A name on the allow-list is safe, or "refused" where torch's own allow-list lacks
it; a name on the deny-list is unsafe in any use; any other is unsafe if the file calls it, and
"code" if it refers to it or makes an object of it, or if a call of it is known to build one thing
of its library's and no more.
"""

from __future__ import annotations

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from fnmatch import fnmatchcase

from interop.facts import Danger, Import

_DTYPES = """
float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz
float8_e8m0fnu float4_e2m1fn_x2 int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool
int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7
complex32 complex64 complex128 bcomplex32 qint8 quint8 qint32 quint4x2 quint2x4
bits8 bits16 bits1x8 bits2x4 bits4x2
"""
_KINDS = ["Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"]
_STORAGES = " ".join(f"{kind}Storage" for kind in [*_KINDS, "ComplexFloat", "ComplexDouble"])
_QUANTIZED = "QInt8Storage QUInt8Storage QInt32Storage QUInt4x2Storage QUInt2x4Storage "
_TENSORS = " ".join(f" {kind}Tensor" for kind in _KINDS)
_SPARSE = _TENSORS.replace(" BoolTensor", "")
# What torch.load(weights_only=True), the default, takes without being asked to (torch 2.15).
_SAFE: dict[str, str] = {
    "torch": (
        "Size device Tensor per_tensor_affine per_channel_affine per_tensor_symmetric "
        "per_channel_symmetric per_channel_affine_float_qparams "
        + _QUANTIZED + _STORAGES + _TENSORS + _DTYPES
    ),
    "torch.cuda": _STORAGES + _TENSORS,
    "torch.sparse": _SPARSE,
    "torch.cuda.sparse": _SPARSE,
    "torch.storage": "UntypedStorage TypedStorage",
    "torch._utils": (
        "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter "
        "_rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor "
        "_rebuild_meta_tensor_no_storage _rebuild_wrapper_subclass "
        "_rebuild_device_tensor_from_numpy _rebuild_device_tensor_from_cpu_tensor"
    ),
    "torch._tensor": "_rebuild_from_type_v2",
    "torch.nn.parameter": "Parameter",
    "torch.serialization": "_get_layout",
    "collections": "OrderedDict Counter",
    "builtins": "set bytearray complex",
    "_codecs": "encode",
}  # fmt: skip
# What does no harm either, and makes torch.load(weights_only=True) refuse the file.
_REFUSED: dict[str, str] = {
    "torch": (
        "strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc jagged contiguous_format "
        "channels_last channels_last_3d preserve_format double float half long int short "
        "cfloat cdouble chalf UntypedStorage TypedStorage"
    ),
    "torch.cuda": "UntypedStorage TypedStorage " + _QUANTIZED,
    "torch.storage": "_TypedStorage _UntypedStorage",
    "torch._utils": "_rebuild_nested_tensor",
    "torch._tensor": "Tensor",
    "torch.nested._internal.nested_tensor": "_rebuild_njt NestedTensor",
    # The sizes between which torch 2.14 knows an axis of a nested tensor to lie.
    "torch._dynamo.decorators": "_DimRange",
    "torch._C": "Generator",
    "torch.nn.utils.rnn": "PackedSequence",
    "torch.distributed.device_mesh": "DeviceMesh",
    "torch.distributed._mesh_layout": "_FlatLayout _MeshLayout",
    # On torch's own list too, but only after an import of torch.distributed.tensor.
    "torch.distributed.tensor": "DTensor",
    "torch.distributed.tensor._dtensor_spec": "DTensorSpec TensorMeta ShardOrderEntry",
    "torch.distributed.tensor.placement_types": "Partial Replicate Shard _StridedShard",
    "torch.distributed._tensor.api": "DTensor",
    "torch.distributed._tensor.placement_types": (
        "DTensorSpec TensorMeta Partial _Partial Replicate Shard _StridedShard"
    ),
    "torch.nn.parameter": "Buffer UninitializedParameter UninitializedBuffer",
    "torch.jit._pickle": (
        "build_intlist build_doublelist build_boollist build_tensorlist build_tensor_from_id "
        "restore_type_tag"
    ),
    "torch.distributed.checkpoint.metadata": (
        "Metadata TensorStorageMetadata TensorProperties ChunkStorageMetadata "
        "BytesStorageMetadata MetadataIndex StorageMeta _MEM_FORMAT_ENCODING"
    ),
    "torch.distributed.checkpoint.filesystem": "_StorageInfo",
    "collections": "defaultdict deque",
    "builtins": (
        "frozenset list dict tuple int float str bool bytes object slice range xrange Ellipsis "
        "NotImplemented"
    ),
    "copyreg": "_reconstructor __newobj__ __newobj_ex__",
    "argparse": "Namespace",
    "pathlib": "Path PurePath PosixPath PurePosixPath WindowsPath PureWindowsPath",
    "datetime": "datetime date time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "types": "SimpleNamespace",
    "re": "_compile",
    "uuid": "UUID SafeUUID",
    "numpy": "ndarray dtype record recarray",
    "numpy.ma.core": "_mareconstruct",
    "numpy.ma": "MaskedArray",
    "joblib.numpy_pickle": "NumpyArrayWrapper",
    "dill._dill": "_create_array",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy.dtypes": (
        "Float64DType Float32DType Float16DType LongDoubleDType Int64DType Int32DType Int16DType "
        "Int8DType UInt64DType UInt32DType UInt16DType UInt8DType LongDType ULongDType BoolDType "
        "Complex64DType Complex128DType StrDType BytesDType ObjectDType"
    ),
    "numpy.random._pickle": "__randomstate_ctor __bit_generator_ctor __generator_ctor",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._sfc64": "SFC64",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
}
# Members of enumerations, which a pickle makes by a call. No more than those: each is one object
# for the whole program, and is not to be changed.
_ENUMERATIONS: dict[str, str] = {
    "torchvision.transforms.functional": "InterpolationMode",
    "timm.layers.format": "Format",
    "transformers.trainer_utils": (
        "IntervalStrategy HubStrategy SchedulerType SaveStrategy EvaluationStrategy FSDPOption"
    ),
    "transformers.training_args": "OptimizerNames ParallelMode",
    "accelerate.utils.dataclasses": "DistributedType",
    "pytorch_lightning.trainer.states": "TrainerFn TrainerStatus RunningStage",
    "lightning.pytorch.trainer.states": "TrainerFn TrainerStatus RunningStage",
    "torch.distributed.fsdp.api": "StateDictType ShardingStrategy BackwardPrefetch",
}


# Calls that build one object of a library's, of numbers and arrays: they need the library, and run
# nothing of the file's choice. "*" stands for any letters and digits.
_DISTANCES = "newObj *Distance *Distance32 *Distance64"
_TREES = "newObj KDTree KDTree32 KDTree64 BallTree BallTree32 BallTree64 BinaryTree*"
_BUILDING: dict[str, str] = {
    "sklearn.tree._tree": "Tree",
    "sklearn.neighbors._kd_tree": _TREES,
    "sklearn.neighbors._ball_tree": _TREES,
    "sklearn.metrics._dist_metrics": _DISTANCES,
    "sklearn.linear_model._sgd_fast": (
        "Hinge SquaredHinge Log ModifiedHuber Huber SquaredLoss EpsilonInsensitive "
        "SquaredEpsilonInsensitive Classification Regression"
    ),
    "sklearn._loss._loss": "Cy* __pyx_unpickle_Cy*",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "pandas": "Index RangeIndex MultiIndex DatetimeIndex CategoricalIndex StringDtype Categorical",
    "pandas.arrays": "DatetimeArray StringArray IntegerArray FloatingArray BooleanArray",
    "pandas.core.indexes.base": "_new_Index Index",
    "pandas.core.internals.managers": "BlockManager SingleBlockManager",
    "pandas._libs.internals": "_unpickle_block",
    "pandas._libs.arrays": "__pyx_unpickle_NDArrayBacked",
}


def _table(names: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((module, name) for module, line in names.items() for name in line.split())


SAFE, SHARED = _table(_SAFE), _table(_ENUMERATIONS)
REFUSED = _table(_REFUSED) | SHARED

# Whole packages of which nothing belongs into a checkpoint: they run, load, fetch or write.
_DENIED = """
os posix nt subprocess sys runpy socket shutil ctypes _ctypes pickle cPickle _pickle marshal
webbrowser pip ensurepip venv importlib _frozen_importlib imp zipimport pkgutil code codeop pty
pdb bdb timeit cProfile profile trace tracemalloc asyncio multiprocessing _posixsubprocess
_winapi msvcrt winreg signal threading _thread concurrent commands popen2 platform pydoc doctest
unittest inspect gc linecache dill cloudpickle joblib jsonpickle shelve dbm sqlite3 io _io
tempfile fileinput http urllib urllib2 urllib3 requests httpx aiohttp ftplib smtplib telnetlib
xmlrpc socketserver ssl select cgi antigravity idlelib lib2to3 distutils setuptools
pkg_resources site sysconfig ast dis getpass ptpython IPython
uuid _osx_support _aix_support _pyrepl test imaplib poplib nntplib httplib
paramiko fabric builtins __builtin__ atexit faulthandler readline rlcompleter mmap
"""
_DENIED_PACKAGES = frozenset(_DENIED.split())
# (module, name): one name of a package that is otherwise a matter of use; "" denies what is below.
_DENIED_BELOW = """
torch.hub torch.jit.unsupported_tensor_ops torch.package torch.utils.cpp_extension
torch.utils.model_zoo torch.utils.collect_env torch.utils.bottleneck torch.utils._config_module
torch.utils.data.datapipes torch.ops torch.classes torch.distributed.rpc torch.multiprocessing
torch._inductor torch._dynamo torch.fx.experimental numpy.testing numpy.f2py numpy.distutils
pandas.io.pickle
"""
_DENIED_NAMES = frozenset((module, "") for module in _DENIED_BELOW.split()) | _table(
    {
        "functools": "partial partialmethod reduce",
        "operator": "attrgetter methodcaller itemgetter call",
        "types": "CodeType FunctionType LambdaType MethodType ModuleType",
        "logging": "FileHandler config handlers",
        "torch": "load",
        "torch.serialization": "load",
        "torch.jit": "load",
        "numpy": "load fromfile memmap save",
        "pandas": "read_pickle",
    }
)
_PYTHON_2 = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
    "pathlib._local": "pathlib",
    "codecs": "_codecs",
    "_operator": "operator",
}


def modern(module: str, name: str) -> tuple[str, str]:
    """What Python 3 imports for a name in a pickle of a protocol below 3, which has Python 2's:
    "commands" stands for subprocess there."""
    return NAME_MAPPING.get((module, name)) or (IMPORT_MAPPING.get(module, module), name)


def plain(module: str, name: str) -> tuple[str, str]:
    """The name under which a thing is looked up here: Python 3's, and numpy 1's."""
    return _PYTHON_2.get(module, module), name


def is_harmless(module: str, name: str) -> bool:
    """Does it rebuild nothing but tensors and plain values?"""
    key = plain(module, name)
    return key in SAFE or key in REFUSED


def is_shared(module: str, name: str) -> bool:
    """Does a call of it give one object that the whole program shares?"""
    return plain(module, name) in SHARED


def is_denied(module: str, name: str) -> bool:
    """Is it on the deny-list? A dotted name reaches through its module to other ones."""
    if is_harmless(module, name):
        return False
    # "torch" + "serialization.os.system" is os.system: every step of the way counts.
    steps = ".".join(plain(module, name)).split(".")
    if steps[0] in _DENIED_PACKAGES:
        return True
    if "." in name and not _DENIED_PACKAGES.isdisjoint(name.split(".")):
        return True
    if any(step.startswith("__") and step.endswith("__") for step in name.split(".")):
        return True
    for count in range(1, len(steps)):
        above = ".".join(steps[:count])
        if (above, "") in _DENIED_NAMES or (above, steps[count]) in _DENIED_NAMES:
            return True
    return False


def _builds(module: str, name: str) -> bool:
    """Is a call of it known to build something and to do no more?"""
    patterns = _BUILDING.get(module, "").split()
    return name.isidentifier() and any(fnmatchcase(name, pattern) for pattern in patterns)


class Ledger:
    """What one file imports and to what use, in the order in which the names are met."""

    def __init__(self) -> None:
        self._danger: dict[tuple[str, str], Danger] = {}
        self._followed: set[tuple[str, str]] = set()

    def refer(self, module: str, name: str) -> None:
        """The name is met; nothing is done with it yet."""
        key = (module, name)
        if key not in self._danger:
            if is_harmless(module, name):
                # torch looks the name up as it stands: codecs.encode is not _codecs.encode.
                self._danger[key] = Danger.SAFE if key in SAFE else Danger.REFUSED
            else:
                self._danger[key] = Danger.UNSAFE if is_denied(module, name) else Danger.CODE

    def call(self, module: str, name: str) -> None:
        """The name is called with arguments of the file's choice."""
        self.refer(module, name)
        unknown = self._danger[(module, name)] == Danger.CODE or (module, name) in self._followed
        if unknown and not _builds(module, name):
            self._danger[(module, name)] = Danger.UNSAFE

    def follow(self, module: str, name: str) -> None:
        """The name is called, and what this one call does was followed: it rebuilds a tensor."""
        if self._danger.get((module, name)) == Danger.CODE:
            self._danger[(module, name)] = Danger.REFUSED
            self._followed.add((module, name))

    def alter(self, module: str, name: str) -> None:
        """The thing itself is changed (its __defaults__, say): never innocent."""
        self._danger[(module, name)] = Danger.UNSAFE

    def compile(self) -> None:
        """The file is a TorchScript archive: its classes are code that it brings along."""
        for key in self._danger:
            if key[0].split(".")[0] == "__torch__" and not is_denied(*key):
                self._danger[key] = Danger.CODE
            elif key[0] == "torch.jit._pickle":  # notation of TorchScript's, nothing to import
                self._danger[key] = Danger.SAFE

    def add_unless_by_chance(self, other: Ledger) -> None:
        """Take over what is unsafe in bytes that are a pickle to some readers alone, and numbers
        to the others: those name by chance nothing, or halves of what is named anyway."""
        modules = {module for module, _ in self._danger}
        for (module, name), danger in other._danger.items():
            named = f"{module}.{name}".replace(".", "").isidentifier()
            mixed = module in modules and not is_denied(module, name)
            if danger == Danger.UNSAFE and named and not mixed:
                self.alter(module, name)

    @property
    def unsafe(self) -> bool:
        return Danger.UNSAFE in self._danger.values()

    def imports(self) -> tuple[Import, ...]:
        return tuple(Import(module, name, how) for (module, name), how in self._danger.items())
