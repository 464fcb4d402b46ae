"""Endless packed rows of tokens from the dialogue generator, drawn by worker processes."""
import multiprocessing as mp
import os
import random

import numpy as np

from dialogues import make_pieces

CONTEXT, GENERATED = 1, 2   # classes of tokens: read by the model, written by the model


def encode_documents(tokenizer, documents):
    """[(ids, classes)] as int lists; every piece of every document is tokenised alone."""
    pieces = [piece for document in documents for piece in document if piece[0]]
    encoded = iter(tokenizer.encode_batch([text for text, _ in pieces], add_special_tokens=False))
    out = []
    for document in documents:
        ids, classes = [], []
        for text, generated in document:
            if text:
                piece = next(encoded).ids
                ids += piece
                classes += [GENERATED if generated else CONTEXT] * len(piece)
        out.append((ids, classes))
    return out


def pack(documents, length, pad):
    """Rows (ids uint16, class uint8, position uint16) of `length` tokens, first fit; the tail of a row is padding of class 0,
    whose positions start at 0 again. Documents that are longer than a row are left out."""
    rows = []
    for ids, classes in documents:
        if len(ids) > length:
            continue
        row = next((r for r in rows if length - len(r[0]) >= len(ids)), None)
        if row is None:
            row = ([], [], [])
            rows.append(row)
        row[0].extend(ids)
        row[1].extend(classes)
        row[2].extend(range(len(ids)))
    out = []
    for ids, classes, pos in rows:
        gap = length - len(ids)
        if gap > length // 8:      # a badly filled last row is not worth its time
            continue
        out.append((ids + [pad] * gap, classes + [0] * gap, pos + list(range(gap))))
    ids, classes, pos = zip(*out)
    return np.array(ids, np.uint16), np.array(classes, np.uint8), np.array(pos, np.uint16)


def worker(queue, tokenizer_file, length, seed):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(tokenizer_file)
    pad = tokenizer.token_to_id("<|endoftext|>")
    rng = random.Random(seed)
    while True:
        documents = encode_documents(tokenizer, [make_pieces(rng) for _ in range(400)])
        queue.put(pack(documents, length, pad))


class Corpus:
    """Batches of fresh rows, mixed over all workers. `seed` fixes each worker's stream; the order in which streams are
    interleaved depends on the machine."""

    def __init__(self, tokenizer_file, length, workers, seed):
        context = mp.get_context("fork")
        self.queue = context.Queue(maxsize=64)
        self.rng = np.random.default_rng(seed)
        self.processes = [context.Process(target=worker, args=(self.queue, tokenizer_file, length, seed * 1000 + i), daemon=True) for i in range(workers)]
        for p in self.processes:
            p.start()
        self.pool = [[], [], []]

    def batch(self, rows):
        """(ids, classes, positions) of `rows` rows, drawn without repetition from a pool of a few thousand."""
        while len(self.pool[0]) < 2000 + rows:
            for column, block in zip(self.pool, self.queue.get(timeout=120)):
                column.extend(block)
        pick = sorted(self.rng.choice(len(self.pool[0]), rows, replace=False), reverse=True)
        out = [np.stack([column[i] for i in pick]) for column in self.pool]
        for column in self.pool:
            for i in pick:
                column[i] = column[-1]
                column.pop()
        return out

    def close(self):
        for p in self.processes:
            p.terminate()
