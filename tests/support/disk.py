"""A disk that can lose its power: one file over FUSE, for a loop device. What was written since the last flush is lost, all of it,
a part of it in any choice, or nothing. Says `ready`; then each line `PATH SEED` of its input leaves there what a power cut
would, and is answered by `cut`. Usage: disk.py FILE MIB LATENCY_S"""
import os
import random
import struct
import subprocess
import sys
import threading
import time

FILE, SIZE, LATENCY = sys.argv[1], int(sys.argv[2]) << 20, float(sys.argv[3])
INIT, GETATTR, SETATTR, OPEN, READ, WRITE, RELEASE, FSYNC, FLUSH = 26, 3, 4, 14, 15, 16, 18, 20, 25
FORGET, INTERRUPT, BATCH_FORGET = 2, 36, 42
ENOSYS, MOST_AT_ONCE, HEADER = 38, 128 << 10, 40

flushed, current, since = bytearray(SIZE), bytearray(SIZE), []
lock = threading.Lock()


def cuts():
    for line in sys.stdin:
        path, seed = line.split()
        chance = random.Random(int(seed))
        with lock:
            image, writes = bytearray(flushed), list(since)
        kept = chance.choice([0, 0.5, 1])
        for offset, data in writes:
            if chance.random() < kept:
                image[offset : offset + len(data)] = data
        with open(path, "wb") as out:
            out.write(image)
        print("cut", flush=True)
    os._exit(0)


def attributes():
    return struct.pack("<QII6Q10I", 1, 0, 0, 1, SIZE, SIZE // 512, 0, 0, 0, 0, 0, 0, 0o100600, 1, 0, 0, 0, 4096, 0)


def write(body):
    _, offset, size = struct.unpack_from("<QQI", body)
    data = body[HEADER : HEADER + size]
    time.sleep(LATENCY)
    with lock:
        current[offset : offset + size] = data
        since.append((offset, data))
    return struct.pack("<II", size, 0)


def flush():
    time.sleep(LATENCY)
    with lock:
        for offset, data in since:
            flushed[offset : offset + len(data)] = data
        since.clear()
    return b""


def answer(operation, body):
    if operation == INIT:
        return struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 16, 12, MOST_AT_ONCE, 1, MOST_AT_ONCE >> 12, 0, 0)
    if operation in (GETATTR, SETATTR):
        return attributes()
    if operation == OPEN:
        # Nothing is kept in the page cache above: each write comes here, in its order.
        return struct.pack("<QII", 0, 1, 0)
    if operation == READ:
        _, offset, size = struct.unpack_from("<QQI", body)
        return bytes(current[offset : offset + size])
    if operation == WRITE:
        return write(body)
    if operation == FSYNC:
        return flush()
    return b"" if operation in (RELEASE, FLUSH) else None


def main():
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = "fd=0,rootmode=100600,user_id=0,group_id=0"
    subprocess.run(["mount", "-i", "-t", "fuse", "-o", options, "disk", FILE], stdin=fuse, check=True)
    threading.Thread(target=cuts, daemon=True).start()
    print("ready", flush=True)
    while True:
        try:
            request = os.read(fuse, 1 << 20)
        except FileNotFoundError:
            continue
        except OSError:
            # It is unmounted.
            return
        _, operation, unique, _ = struct.unpack_from("<IIQQ", request)
        if operation in (FORGET, INTERRUPT, BATCH_FORGET):
            continue
        out = answer(operation, request[HEADER:])
        error, out = (-ENOSYS, b"") if out is None else (0, out)
        os.write(fuse, struct.pack("<IiQ", 16 + len(out), error, unique) + out)


main()
