"""One batch as a method sees it, and the table of methods."""

import dataclasses

import torch

import maps
import outputs
import several
from nets import NETWORKS, Outputs, Scope, Values


@dataclasses.dataclass
class Step:
    """What a loss reads. `memory` is what earlier steps left, `writes` what this one leaves."""

    values: Values
    student: Outputs
    teachers: list
    labels: torch.Tensor
    epoch: int
    draw: int
    profiles: list = ()
    costs: list = ()
    sample_labels: torch.Tensor = None
    places: torch.Tensor = None
    memory: dict = dataclasses.field(default_factory=dict)
    writes: dict = dataclasses.field(default_factory=dict)

    def part(self, name):
        """Trained values beside the student."""
        return Scope(self.values, f"{name}/")


METHODS = {
    "ce": outputs.ce,
    "kd": outputs.kd,
    "ca-mkd": several.ca_mkd,
    "aver": outputs.aver,
    "ebkd": outputs.ebkd,
    "aekd": outputs.aekd,
    "aekd-f": several.aekd_f,
    "fitnet-mkd": maps.fitnet_mkd,
    "amtml-kd": several.amtml_kd,
    "mmkd": several.mmkd,
    "ikd": outputs.ikd,
    "max-probability": outputs.max_probability,
    "calibrated-confidence": outputs.calibrated_confidence,
    "class-reliability": outputs.class_reliability,
    "best-teacher": outputs.best_teacher,
    "random-teacher": outputs.random_teacher,
    "mean-of-probabilities": outputs.mean_of_probabilities,
    "mean-of-logits": outputs.mean_of_logits,
    "dih": outputs.dih,
    "dkd": outputs.dkd,
    "dist": outputs.dist,
    "fitnet": maps.fitnet,
    "at": maps.at,
    "sp": maps.sp,
    "rkd": maps.rkd,
    "pkt": maps.pkt,
    "crd": maps.crd,
    "vid": maps.vid,
    "semckd": maps.semckd,
    "reviewkd": maps.reviewkd,
    "simkd": maps.simkd,
    "dpk": maps.dpk,
    "ckd": outputs.ckd,
    "ot": outputs.ot,
}
ONE_TEACHER = ("kd", "ikd", "simkd")


def teacher_count(method, there):
    return 0 if method == "ce" else 1 if method in ONE_TEACHER else there


def student_outputs(method, network, values, images, classes, teachers, train=True):
    """The student's; with SimKD its body, the projector, and the teacher's classifier."""
    scope = Scope(values, "student/", train)
    own = NETWORKS[network](scope, images, None if method == "simkd" else classes)
    if method != "simkd":
        return own
    (teacher,) = teachers
    last = maps.projected(scope, own, teacher.map.shape[1], teacher.map.shape[2:])
    weight, bias = teacher.classifier
    logits = torch.nn.functional.linear(last.mean((2, 3)), weight, bias)
    return Outputs(logits, own.maps, own.before, last, teacher.classifier)
