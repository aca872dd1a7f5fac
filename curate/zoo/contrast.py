"""Losses of the contrastive scorers: multi-positive NCE over labels, and the two-way image-text loss."""

import torch
from torch import Tensor
from torch.nn import functional


def multi_positive_nce(vectors: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Supervised contrastive loss of unit vectors (B, D) and labels (B,): a scalar.

    mean over anchors i of -1/|P(i)| sum_{p in P(i)} log( exp(v_i.v_p / t) / sum_{a != i} exp(v_i.v_a / t) ),
    P(i) the others with i's label; anchors without one are left out (Khosla et al., arXiv 2004.11362,
    equation 2; the style loss of CSD, 2404.01292).
    """
    logits = _cosines(vectors, vectors) / temperature
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    log_p = functional.log_softmax(logits.masked_fill(itself, -torch.inf), dim=1).masked_fill(itself, 0.0)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    count = positive.sum(dim=1)
    per_anchor = -(log_p * positive).sum(dim=1)[count > 0] / count[count > 0]
    return per_anchor.mean()


def image_text_loss(images: Tensor, texts: Tensor, subjects: Tensor, scale: Tensor) -> Tensor:
    """CLIP's symmetric loss for unit vectors images (B, D) and texts (T, D); images may share a text.

    ``subjects`` (B,) is the index of each image's text. Image to text is cross-entropy; text to image spreads
    its target evenly over the text's images.
    """
    logits = scale * _cosines(images, texts)  # (B, T)
    to_text = functional.cross_entropy(logits, subjects)
    target = functional.one_hot(subjects, len(texts)).T.float()  # (T, B)
    target = target / target.sum(dim=1, keepdim=True).clamp(min=1)
    to_image = -(target * functional.log_softmax(logits.T, dim=1)).sum(dim=1)
    return (to_text + to_image[target.sum(dim=1) > 0].mean()) / 2


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """Products of unit vectors in float32: under autocast bfloat16 would round a cosine near 1 by 0.004."""
    with torch.autocast(first.device.type, enabled=False):
        return first.float() @ second.float().T
