"""Names of networks.

They stand here as text because importing the libraries takes ten times as long as the check; a test compares them with
what the installed libraries have.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from stages.check.section import broken

OWN_ENCODERS = ("tiny_resnet10", "slim_resnet10", "slim_resnet18")
SMP_ENCODERS = (
    "densenet121", "densenet161", "densenet169", "densenet201", "dpn107", "dpn131", "dpn68", "dpn68b", "dpn92", "dpn98",
    "efficientnet-b0", "efficientnet-b1", "efficientnet-b2", "efficientnet-b3", "efficientnet-b4", "efficientnet-b5",
    "efficientnet-b6", "efficientnet-b7", "inceptionresnetv2", "inceptionv4", "mit_b0", "mit_b1", "mit_b2", "mit_b3",
    "mit_b4", "mit_b5", "mobilenet_v2", "mobileone_s0", "mobileone_s1", "mobileone_s2", "mobileone_s3", "mobileone_s4",
    "resnet101", "resnet152", "resnet18", "resnet34", "resnet50", "resnext101_32x16d", "resnext101_32x32d",
    "resnext101_32x48d", "resnext101_32x4d", "resnext101_32x8d", "resnext50_32x4d", "se_resnet101", "se_resnet152",
    "se_resnet50", "se_resnext101_32x4d", "se_resnext50_32x4d", "senet154", "timm-efficientnet-b0",
    "timm-efficientnet-b1", "timm-efficientnet-b2", "timm-efficientnet-b3", "timm-efficientnet-b4",
    "timm-efficientnet-b5", "timm-efficientnet-b6", "timm-efficientnet-b7", "timm-efficientnet-b8",
    "timm-efficientnet-l2", "timm-skresnet18", "timm-skresnet34", "timm-skresnext50_32x4d",
    "timm-tf_efficientnet_lite0", "timm-tf_efficientnet_lite1", "timm-tf_efficientnet_lite2",
    "timm-tf_efficientnet_lite3", "timm-tf_efficientnet_lite4", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16",
    "vgg16_bn", "vgg19", "vgg19_bn", "xception",
)  # fmt: skip
PLAIN_VITS = ("vit_", "deit", "eva")  # beginnings of timm's names
TIMM = "tu-"  # any timm model by its name after this

OWN_ARCHITECTURES = ("fcn", "fcn_skip", "linear", "deeplabv2", "single_stage")
SMP_ARCHITECTURES = (
    "deeplabv3", "deeplabv3plus", "dpt", "fpn", "linknet", "manet", "pan", "pspnet", "segformer", "unet",
    "unetplusplus", "upernet",
)  # fmt: skip
ONE_LEVEL = ("fcn", "linear", "deeplabv2")  # read an encoder's last features alone
TORCHVISION = "torchvision/"
TORCHVISION_ARCHITECTURES = (
    "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet101", "deeplabv3_resnet50", "fcn_resnet101", "fcn_resnet50",
    "lraspp_mobilenet_v3_large",
)  # fmt: skip


def is_encoder(name: str) -> str:
    """An encoder that `stages.core.networks.encoders` knows; of timm's only the prefix is checked."""
    known = (*OWN_ENCODERS, *SMP_ENCODERS)
    if name in known or (name.startswith(TIMM) and re.fullmatch(r"[\w.-]+", name[len(TIMM) :], re.ASCII)):
        return name
    raise broken(
        f"must be {', '.join(OWN_ENCODERS)}, an encoder of segmentation_models.pytorch or {TIMM}NAME of timm",
        choices=known,
    )


def is_architecture(name: str) -> str:
    """An architecture that `stages.core.networks.segmentation` knows."""
    others = tuple(TORCHVISION + model for model in TORCHVISION_ARCHITECTURES)
    known = (*OWN_ARCHITECTURES, *SMP_ARCHITECTURES, *others)
    if name not in known:
        raise broken(f"must be one of {', '.join(known)}", choices=known)
    return name


def shares_encoder(architecture: str, encoder: str) -> bool:
    """Whether the classifier's encoder is the one inside the segmenter; torchvision's have theirs in their name."""
    return not architecture.startswith(TORCHVISION) or encoder in architecture


def is_plain_vit(encoder: str) -> bool:
    """Whether an encoder is one of the transformers of timm that `stages.core.networks.vit` builds, by its name."""
    return encoder.startswith(tuple(TIMM + name for name in PLAIN_VITS))


Encoder = Annotated[str, AfterValidator(is_encoder)]
Architecture = Annotated[str, AfterValidator(is_architecture)]
