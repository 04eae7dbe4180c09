"""Markup that cannot forget to escape, boards, and the cards by which a notebook shows what it holds."""
