import unittest

from allot import allot


class AllotTest(unittest.TestCase):
    def test_even(self):
        self.assertEqual(allot(90, [1, 1, 1]), [30, 30, 30])

    def test_cents_left_over(self):
        self.assertEqual(allot(100, [1, 1, 1]), [34, 33, 33])

    def test_part_without_weight(self):
        self.assertEqual(allot(10, [1, 0, 1]), [5, 0, 5])

    def test_no_weights(self):
        with self.assertRaises(ValueError):
            allot(10, [])
