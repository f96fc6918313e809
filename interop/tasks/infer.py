"""An identity -> the task that it is measured at, and whether it says what that needs."""

from __future__ import annotations

from interop.errors import ConfigError
from interop.facts import HeadRole, Identity, TaskName

# The ending of a transformers class's name, or the role of a head -> the Hub's word for the task.
TASKS = {
    "ForSequenceClassification": TaskName.TEXT_CLASSIFICATION,
    "ForTokenClassification": TaskName.TOKEN_CLASSIFICATION,
    "ForQuestionAnswering": TaskName.QUESTION_ANSWERING,
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": TaskName.TEXT_GENERATION,
    "LMHeadModel": TaskName.TEXT_GENERATION,
    "ForImageClassification": TaskName.IMAGE_CLASSIFICATION,
    "ForObjectDetection": TaskName.OBJECT_DETECTION,
    "ForSemanticSegmentation": TaskName.IMAGE_SEGMENTATION,
    "ForUniversalSegmentation": TaskName.IMAGE_SEGMENTATION,
    "ForDepthEstimation": "depth-estimation",
    "ForAudioClassification": TaskName.AUDIO_CLASSIFICATION,
    "ForCTC": TaskName.SPEECH_RECOGNITION,
    "Model": "feature-extraction",
}
# Families whose sequences are of sound.
_SOUND = ("Wav2Vec2", "Hubert", "WavLM", "UniSpeech", "SEW", "Data2VecAudio", "Whisper")
ROLES = {
    HeadRole.CLASSES: TaskName.IMAGE_CLASSIFICATION,
    HeadRole.PIXEL_CLASSES: TaskName.IMAGE_SEGMENTATION,
    HeadRole.BOX_CLASSES: TaskName.OBJECT_DETECTION,
}
# Tasks whose answers are class names.
NAMED = (
    TaskName.IMAGE_CLASSIFICATION, TaskName.TEXT_CLASSIFICATION,
    TaskName.AUDIO_CLASSIFICATION, TaskName.TOKEN_CLASSIFICATION,
    TaskName.IMAGE_SEGMENTATION, TaskName.OBJECT_DETECTION,
)  # fmt: skip


def task_of_class(name: str) -> str:
    """The Hub's word for what a class of transformers is for; "" where its name does not tell."""
    endings = [ending for ending in TASKS if name.endswith(ending)]
    name_of_task = TASKS[max(endings, key=len)] if endings else ""
    if name_of_task == TaskName.TEXT_CLASSIFICATION and name.startswith(_SOUND):
        return TaskName.AUDIO_CLASSIFICATION
    return name_of_task


def task_name(identity: Identity, given: str | None = None, otherwise: str = "") -> str:
    """The Hub's word for the task: what was given, else what the class, the head or the labels say,
    `otherwise` what the data say.

    Raises ConfigError where nothing tells, or what it is for has no figure of merit.
    """
    if given:
        return given
    name = _by_class(identity) or _by_head(identity)
    if identity.labels.known and not identity.labels.applicable and name in ("", *NAMED[:3]):
        return TaskName.REGRESSION
    if not name and identity.image_preprocessing is not None and identity.labels.names is not None:
        name = TaskName.IMAGE_CLASSIFICATION
    name = name or otherwise
    if not name:
        what = "cannot tell which task this model is for"
        fix = "pass --task (image-classification, regression, …)"
        raise ConfigError(what, where=identity.manifest.path, fix=fix)
    return name


def need_interface(
    identity: Identity, task: str, *, ready: bool = False, numbered: bool = False
) -> None:
    """Raise ConfigError, with all that is missing, if labels or preprocessing that the task needs
    are unknown.

    Inputs that are `ready` need no preprocessing, and answers to class numbers no names, unless
    other models have some (`numbered` is False).
    """
    where = identity.manifest.path
    pictures = task.startswith(("image-", "object-")) and task != TaskName.OBJECT_DETECTION
    ours = not (identity.architecture or "").startswith("transformers/")
    lacking: list[tuple[str, str, str]] = []
    if pictures and ours and not ready and identity.image_preprocessing is None:
        fault = f" ({identity.preprocessing_fault})" if identity.preprocessing_fault else ""
        how = f"how its inputs are prepared is unknown{fault}"
        fix = "give it with --preprocess; any figure would be of another model"
        lacking.append((how, fix, "preprocessing-unknown"))
    names = identity.labels.names
    if task in NAMED and names is None and not (ready and numbered):
        what = "its labels are unknown, so no class can be matched to an output"
        lacking.append((what, "give them with --labels", "labels-unknown"))
    if lacking:
        whats, fixes, rules = zip(*lacking, strict=True)
        raise ConfigError("; ".join(whats), where=where, fix="; ".join(fixes), rule=rules[0])
    if names is None:
        return
    classifies = task.endswith("-classification") and task != TaskName.TOKEN_CLASSIFICATION
    if classifies and identity.head is not None and identity.head.outputs not in (0, len(names)):
        what = f"{len(names)} labels for {identity.head.outputs} outputs"
        fix = "give as many labels as the head has outputs"
        raise ConfigError(what, where=where, fix=fix, rule="label-count-mismatch")


def _by_class(identity: Identity) -> str:
    library, _, own = (identity.architecture or "").partition("/")
    return task_of_class(own) if library == "transformers" else ""


def _by_head(identity: Identity) -> str:
    role = identity.head.role if identity.head is not None else HeadRole.UNKNOWN
    return ROLES.get(role, "") if identity.architecture else ""
