"""The model under study: what every subject can do, our own GPT, its training, its control, and those of others.

base              the protocol, alphabets, `load`
sites, joined     the names of the places that can be read and edited, one or several as one
sequences         what a subject predicts, as it is and with something else in an activation's place
gpt               a small GPT that can be read and edited everywhere
pretrain, muon    training one, whatever the model and the data
training_folder   the folder in which one is trained
othello_training  training one on Othello
text_model        language models as transformers has them
text_training     training one on text
text_card         what is said of one
disk, card        one on disk, and what is said of it; the bundled one
control           one that has learned nothing
toy               one whose features are known
othello           OthelloGPTs in the formats of others
huggingface       any model of the `transformers` library, and with it
families, taps    where its sites lie, and the hooks that read and edit them
mixture           the sites of a mixture of experts
legality          how well a subject knows Othello
"""

import unweave.subject.control  # enters the registry, as the next do
import unweave.subject.huggingface
import unweave.subject.othello
import unweave.subject.toy  # noqa: F401
from unweave.subject.base import SUBJECTS as SUBJECTS
from unweave.subject.base import Alphabet as Alphabet
from unweave.subject.base import Edit as Edit
from unweave.subject.base import Subject as Subject
from unweave.subject.base import load as load
from unweave.subject.card import export as export
from unweave.subject.disk import save as save
from unweave.subject.disk import saved as saved
from unweave.subject.gpt import GPT as GPT
from unweave.subject.gpt import GPTConfig as GPTConfig
from unweave.subject.legality import Legality as Legality
from unweave.subject.othello_training import OthelloTraining as OthelloTraining
from unweave.subject.othello_training import pretrain_othello as pretrain_othello
from unweave.subject.pretrain import Pretraining as Pretraining
from unweave.subject.text_card import export_text as export_text
from unweave.subject.text_model import TextShape as TextShape
from unweave.subject.text_training import TextTraining as TextTraining
from unweave.subject.text_training import pretrain_text as pretrain_text
