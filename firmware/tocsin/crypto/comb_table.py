# hwsim: no-float
"""Precomputed multiples of Ed25519's base point B for a fixed-base comb: 3 KB instead of five sixths of all doublings.

Comb j has TEETH bits, SPACING apart. Its entry m is the sum over the teeth i of (+ or -) 2^(SPACING (TEETH j + i)) B,
where the top tooth is positive and the others are positive where bit i of m is set. An entry is y + x, y - x, 2dxy of
the affine point, 32 octets each, little-endian. tests/firmware/wire/test_comb_table.py derives all of it again.
"""

from binascii import a2b_base64

COMBS = 2
TEETH = 5
SPACING = 26

# A bytearray: its octets start on a word boundary, as the native code's 32-bit loads need.
TABLE = bytearray(
    a2b_base64(
        b"7AArp50iH6TE5eDg5BfPylVEGvZW9yHJvZND0sYFlibuE6ATL+HQany4HJSwoWhUbkh6H8eINBH5VoleXQxQbbMH537+kZZG"
        b"X4BfOKyaI3f0LJXExO/a+H4+ia4aJJUpvVsMhx1eN22TVkn9dyu1hTsZ2KVlS7M2oVOirBg6fGkJRKyEcaz+2sZNAaKwLgJf"
        b"wSyJGflJ49nlcYLbidIEMv19PvnjDr4dek/FXfxJQa2+0Qva/BDsLbGesZClICwkBlwwLYF1vG66Z3xmv2IHRvbmXuHSxWQE"
        b"61lY8FOU0VO1uOPEQmakDWg6Yr5lRgoroqQ0E4DXME+B2OsuN25PRir7827vE8NYMp/FMpNlha2jWLHV/0moUE6xS9IqMlMQ"
        b"9zRX2Zjy9mfLIRYqMHUCG6fogJ6mfw9cuw+vHdvpP3LbzAB3X++CD5ZIpYlWXvU5P3S8qCSlpIl2ed7j5Q7XIoBiddxYxRKb"
        b"rtcJkEZ6MG0J2bSqPDoCCAzPFU8VOmhDvHIpDK9y1neCnc3sZeWyBQSest6ZmCHgki1VMxAFTxqww5+w9FcWntnWbDpT4g1C"
        b"/2wKnC5ABEGWtjfttzNONsfB2GmA3H8tkLN5zPbtFBb6mEf44H3KNlN4nHsX7vo74w7Mw/nNH/n/9HRZM38JZUTd+8xqHPA1"
        b"cqRnnSxIQX1CGuofEte7JrDcxgYIjmOIJum0DLr1scGGn9yKVMPpZfEwe351COb5l0jnCu5pd0aNuqEIXsQ1T6QM56ASi9Jr"
        b"FpGs369F3SIp4CpnUfBBkUFOUI8UCxjT37sR5nTcZAMBfYYnHCS71jZprgBoNUapOIZNv5+HHpERkkC+oARKba1RQcxqja+r"
        b"vvQBjrksLM3JnSO4pnIWfnkCk02we5Au3XdHnYUZnjKqUJH0IhZ74X9B4QHloG+7aKkknoV/9mRTh/Iew8fuSMT9JWM4/ixQ"
        b"O56hyTwgIE69MpjhIJMGDwMcriHr+hat5BbHNGJQK/EEqpCZvqY9gBTyRKwo0Q0T3fddDJxFMiq7HlBrXrCb6BboGyui7v7g"
        b"HzTjx7l3p1S2yhr4NjgQ81c+wSE1kY4U1i2jU8b+d69e/qbHtTG1bEB4vwS3rrhRoN/ID6iZsa/BTwk4sG6QK7DCPVc2KgNM"
        b"2Mh6JesN+InvEQeaywJC/GpaUenRmTGKPVCadxv1Y2f6pFroOMiy5zJh/XZm+sdGXw67Xf68fm0FDQhojYj2Xa9U0kd6gNZr"
        b"jHxf5Ldm8i8SCpm63I9cO9mNKQT0jkg5V+LWLXx0jaM0VArzF9hWXSM8gFchsRheT8K87GOunl8Q0uvmt3IejYs4KN1Az3hI"
        b"80SpvHbebx3B2afnGVmmJHV2DpivJVHU819+eFuuRTzyC3cIwAGvQQmsxkVU/fwXWcXXJelpnDq8wPiFxIXqI5GwRJ4Yrgop"
        b"ZC4qyghDrHEiLlTVTCkQXjepIwYj0C2PQAQ+oOXSFbI+7lYxP9QoNDVi6ov09xagW5qtBb+1hSSpHq/OfhaLvJdL/7iy2/on"
        b"4pGZikaCqXlRkKbKUCsEU4SyfBFOIlIYvHzGChAm8BzwOy0jMOYA6aiog586LjRqc05MDxoLQUS8j9vER3yCE3m981cLt/JY"
        b"A8NKQb7Hb/DnC+l7ohspOyOex/ZDAb5AG+xsG7z/NrjNeJS1ROdxBPUxdudtZoZ8ROegkkcyE0ahgDElaWcNcQdDyuRsxKZj"
        b"AebN3F+Y5vyrlN31Zsb4XVNQXiQr112ynjk9VoruRJhdSBbcnDE/czUdDgD7ZZBBHo6Ao+3UQ8l+pARVB7ECiyxnkJwcbn4e"
        b"xMgOi5mQsnKcFPQw0b+zYKdyxxdaVBJIB7XxlMOUv7YFoXuHs3YiG7Mt39ILl3EqFILSjBoYNGdrspSxYdK9UYfMAIFNa5oZ"
        b"X1gMCIi0GErGOfHQ3iSStAC7ApWosJbAdrqexlBc4GaRAXboNIiDfxxkR6+ET/O0Kw5uOo6JHH7Q36XickdbJXfCNxy6Wp+y"
        b"R/THhr1dRdSjZVRcOq4pmyqIW8IeCdFm9i4QqWv2jHohBn++6G6/P15hEBFra3B++m94GytkeRISAr6UUYJQrmPomNBP41Ou"
        b"HncVfkxZqre+G2x2k40adet/IyVWXJS6g28srEMFjFjaqnqT/SOQSAeeCRvSyik+N7RLDTSlJRB+50CRzT4bShF5SkHBRShr"
        b"hPZ/brKfywhTvKz9d2dIK8S34m9PJPT9GVgk7AWt5r6ioJi29GBHOQVjKpBcekRPVp3jNI9v3Q5Badn27JmTFXLaHD9b34JB"
        b"PqESVTPsbx7AeZBcKcZYa+ZIXCE6po40jHdZr7RsIjRrbf5KAyKdxW3KzPkvwt0hVNDHY9MiwAjMtmCko/N2KT6s16uPefk3"
        b"T709kYqgcuOrBnhpdQRhA01fvVYsGWwTSdDNa/7wqtOEiNZbtgnwv89Zyv+4/wl35zdjOmsmMSCKmViCGHN6fYyR5PPHfkAV"
        b"npY2Jrglbo3HTnZgp22gVFrTWs2bEgWmTNUu8tmhjtGdUq+00T4hRfv2iQXV+mBSRpOCpPyhH5/SQT1hgAzk/v6D+xLByacA"
        b"YHWfW/i5hkE8x7cf9QCsigs8wdr9WmjzVqDG7sYGIzeGvHk2Lsh1S2ZeE3465PX7OPpHqC2eGflq+LLvOd8b7gmVlTdEJV8D"
        b"Rregxg6cuWeSWIIooh8Ja+jMx0xsAxK9el0BUvzzXGcf98X9wAySBorcQQh8PAt8P5cFg6JjxZ88NAcRM3nEOjfnyjJXz4K1"
        b"T+CpvOdCZxFkFhFDcoupXk8FLtviS+Z1q71RwTmZ6HVC5iojBRgRERI01LZ3CDxN3YpCHQ3lDx29cmAk1TC9K2QXztP8sFPl"
        b"IWCVXlaLjLaUet054HsQEVLR3aIxEqr0HL90hcqyyPpcHSpnhm6c3+XsBwZCdhI4u0ibLanZ7EodtwUrn3E60zpunrIt2hYC"
        b"KUYpM0tvi1OsQvdrlYo+zMtq17qfr7l2RkXwONAagRac6+mngDOwCBFTRFpnYdllpoX0Lf5kMwypVqeR2dw236LfQp0ahNRo"
        b"oZ1i2NZ/fc62S8ZaFL3cysJy5tpSPizyxJNFgEElMgxw9SDhhTdCwk8kE6D0cmp+qVsEBvPastIhEqZZfFUKUIQvtd+RvH7g"
        b"oEFwtYxyD87IgK51A2NIVatBxX2XbRhEU1zqGAaU68vU6VNtPR20rez9H94DQidYLqcDLzCfnRVy1w9b6g0qUQrc1NoooffN"
        b"LZhZlCngTDzRKRIwwrh1HfEypKX4Q8fPQsNsXrY+ipRpXoOFrysjtrVa/4HMInMqVC86TMfeYChmVCkNSExrbauYLm1sNRyz"
        b"6w96R25Ixmr/lyat7D/iuIliGD2baCiK/OMjH57JtHWfoxMjmS9nODMAb8QIRThy7nFOJDF3Pu/oI9YxScavDktO4KpZzDY0"
        b"s72LvJpwBjTuNMDkmhm9FKsEizQsg259+nGfQNfE+H7FAyH/Mkiyf/50bbyF4FoiAJgPS9VNjP8oCPhN26nPXBVXrcPoOL1n"
        b"G3qjckbM47yACfM7/9koS7tAKSTdtl5EZ86sNY5t/PLMrFgSQHWcumMo+gNxvz/mhNC3GGn0RGOtUsGomprXC6+bmOaG/JoC"
        b"tEZ7hTH+WEXIhtIctPihTmL06qvSmBLo1LCI/3hmYh2UI2pWU7Bm/izx7GLHwc0Dg5f5DPKLL30d3knKruw3LSDZFtAl1GAi"
        b"CgfpfJjXGQ7JP30znIWo6mGbSqaI3MLHdtctigXy1pOjYx1EXf93e2VgeLP4bfAIbX5PINSXz3kL7UJTwnvpF/9J34XwtjBX"
        b"96qmFOP8cosOqKyTqBn+rAnzgHt2vq8QMqp/OBwMbmXUum+V4US2nn1mbN6uRI/fgPFq3KHOiV85JYiH6flxISEFTYeAADqp"
        b"3fx6n/njJUKzev30L6+tZ0icMmAUvEEZ8vFc/aI+L3kb2FqOjFHTKcn2MBnRQgKbMZPs55QMZQqIEcXJtaZiT/aX7W7LQ22U"
        b"n8g49hhctqwr9YqPk8A+AntKDatY9yVuAeeKgJ/+HhiSx3unL5PJeWjiNF4xUmYf"
    )
)
