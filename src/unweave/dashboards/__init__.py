"""What there is to see of a run's features, in a folder of plain files: docs/view-format.md.

held              the held-out rows, and what stands at each of their positions
collect           one streamed pass over them: what fires where, and what nearly does
survey            one number a feature, of all of them; `columns` says what each means and adds others
examples          the places that are shown of a feature
neighbours        features that point or fire as another does
boards            where a feature fires on a board, and which does on its mirror image
effects           what a feature writes into the logits
build             all of it, into `RUN/view`, resumed where it was stopped
reading, notes    the folder read again, and what people write in it; neither needs torch
"""
