"""The training loss, and the chat's repetition penalty as a part of it."""
import torch
import torch.nn.functional as F

from corpus import CONTEXT, GENERATED

PENALTY, WINDOW = 1.1, 64   # the chat's defaults, applied to a share of the rows so that answers survive them


def penalise(logits, ids):
    """Repetition penalty over the last WINDOW tokens, as the sampler applies it."""
    hot = torch.zeros(logits.shape, dtype=torch.int16, device=logits.device).scatter_(2, ids.unsqueeze(-1), 1)
    seen = hot.cumsum(1, dtype=torch.int16)
    seen[:, WINDOW:] -= seen[:, :-WINDOW].clone()
    return torch.where(seen > 0, torch.where(logits > 0, logits / PENALTY, logits * PENALTY), logits)


def weighted_loss(logits, targets, weights):
    """(weighted mean, mean over generated tokens)."""
    each = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    weights = weights.flatten()
    written = (weights == 1).float()
    return (each * weights).sum() / weights.sum(), (each.detach() * written).sum() / written.sum()


def targets_of(ids, classes, pos, context_weight):
    """Next tokens and their weights: 1 where the model writes, `context_weight` elsewhere, 0 across documents and in padding."""
    targets = torch.cat([ids[:, 1:], ids[:, :1]], 1)
    after = torch.cat([classes[:, 1:], classes[:, :1] * 0], 1)
    starts = torch.cat([pos[:, 1:], pos[:, :1]], 1) == 0
    weights = (after == GENERATED).float() + context_weight * (after == CONTEXT).float()
    return targets, weights.masked_fill(starts, 0.0)
