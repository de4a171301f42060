"""Prints the draws that `infer::resample` is held to, from an independent ChaCha8 and hashlib."""
import hashlib, struct

def chacha8(key, stream, block):
    rot = lambda x, n: ((x << n) | (x >> (32 - n))) & 0xFFFFFFFF
    state = list(struct.unpack("<4I", b"expand 32-byte k")) + list(struct.unpack("<8I", key))
    state += [block & 0xFFFFFFFF, block >> 32, stream & 0xFFFFFFFF, stream >> 32]
    w = state[:]
    def quarter(a, b, c, d):
        w[a] = (w[a] + w[b]) & 0xFFFFFFFF; w[d] = rot(w[d] ^ w[a], 16)
        w[c] = (w[c] + w[d]) & 0xFFFFFFFF; w[b] = rot(w[b] ^ w[c], 12)
        w[a] = (w[a] + w[b]) & 0xFFFFFFFF; w[d] = rot(w[d] ^ w[a], 8)
        w[c] = (w[c] + w[d]) & 0xFFFFFFFF; w[b] = rot(w[b] ^ w[c], 7)
    for _ in range(4):
        for q in [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                  (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]:
            quarter(*q)
    return [(x + y) & 0xFFFFFFFF for x, y in zip(w, state)]

seed, digest, stream, n = 7, bytes([1] * 32), 3, 240
key = hashlib.sha256(b"sweepfit/1/resample\0" + struct.pack("<Q", seed) + digest).digest()
words = chacha8(key, stream, 0)
# No product's low half is below n here, so that no word is passed over.
assert all(word * n & 0xFFFFFFFF >= n for word in words[:8])
print([word * n >> 32 for word in words[:8]])
