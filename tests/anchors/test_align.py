"""Alignment by character ends, against tables worked out by hand."""

import numpy as np

from jaxunlearn.anchors.align import align_ends


def test_ends_align_by_a_table():
    # "ab HARRY cd" to "ab JON cd": tokens end at 2 3 8 10 11 and at 2 3 6 9; 10 became 8, 11 became 9
    target_N, inside_N, edge_N = align_ends(
        np.array([2, 3, 5, 8, 10, 11]), np.array([2, 3, 6, 9]), np.array([3]), np.array([8]), np.array([-2])
    )
    assert target_N.tolist() == [0, 1, -1, 2, -1, 3]
    assert inside_N.tolist() == [False, False, True, False, False, False]
    assert edge_N.tolist() == [1, 2, 2, 3, 3, 4]


def test_shared_ends_pair_from_the_last_and_the_last_token_takes_the_rest():
    none = np.zeros(0, np.int64)
    target_N, _, edge_N = align_ends(np.array([1, 3, 3, 3]), np.array([1, 3, 3]), none, none, none)
    assert target_N.tolist() == [0, -1, 1, 2] and edge_N.tolist() == [1, 1, 2, 3]
    # The tokens stop inside an anchor (4 of 6 characters): its translation still belongs to the text.
    _, inside_N, edge_N = align_ends(np.array([2, 4]), np.array([2, 5]), np.array([2]), np.array([6]), np.array([-1]))
    assert inside_N.tolist() == [False, True] and edge_N.tolist() == [1, 2]
