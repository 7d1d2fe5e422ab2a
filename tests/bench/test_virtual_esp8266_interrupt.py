"""Ctrl-C, Ctrl-D and the prompt of a virtual ESP8266: what holds for every virtual board.

Another interpreter, another REPL and another way to interrupt than the ESP32's.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from esp8266_rig import KIND, booted_esp8266
from test_virtual_boot import (  # noqa: F401
    test_ctrl_c_during_flash_writes_loses_nothing,
    test_ctrl_c_interrupts_main_py,
    test_ctrl_d_in_the_friendly_repl_reruns_boot_py_and_main_py,
    test_many_ctrl_c_do_not_end_the_process,
    test_soft_reset_from_code_is_one,
    test_system_exit_in_main_py_is_a_soft_reset,
)
from test_virtual_interrupt import (  # noqa: F401
    test_a_program_that_only_asks_the_bench_is_interrupted,
    test_an_interrupt_in_garbage_collection_leaves_the_heap_whole,
    test_an_interrupt_while_writing_files_leaves_the_file_system_whole,
    test_the_prompt_is_had_at_any_moment,
    test_the_prompt_is_had_at_any_moment_on_a_busy_machine,
    test_what_is_typed_over_a_soft_reset_is_read_after_it,
)

from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard


@pytest.fixture
def make_board(bench_home: Home) -> Callable[..., VirtualBoard]:
    return lambda name=KIND: booted_esp8266(bench_home, name)


@pytest.fixture
def board(make_board: Callable[..., VirtualBoard]) -> VirtualBoard:
    return make_board()
