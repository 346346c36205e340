"""Assertions in the helpers explain themselves as those in the tests do; Ctrl-C is not ignored in the background."""

import signal

import pytest

pytest.register_assert_rewrite("helpers")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what ends with "&"; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
