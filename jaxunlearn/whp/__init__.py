"""Who's Harry Potter: approximate unlearning of a text by generic labels. Eldan & Russinovich, arXiv 2310.02238.

The paper's four steps, in its order (stages.run_stages runs them):
  1. Reinforce: fine-tune the baseline further on the text to forget. config.reinforce; stages/pretrain.py,
     training/step.py.
  2. Translate: swap every anchored term of a dictionary (names and expressions of the text) for a generic one and align
     the translated tokens with the original ones. anchors/ (building/ makes the dictionary, translate.py translates).
  3. Label: give every original position the argmax of the generic logits,
         v_generic = v_base - alpha * ReLU(v_reinf - v_base)        (section 2.2, equation 1),
     v_base of the baseline on the translation, v_reinf of the reinforced model on the original. equation.py is the
     formula, labels.py asks the models, argmax.py (argmax_tpu.py on TPU) finds the labels; stages/label.py stores them.
  4. Fine-tune the baseline on the original tokens with these labels, by cross-entropy; no term for text to keep.
     stages/unlearn.py, methods/whp.py; with mode=fused its step labels and updates in one program instead.

Where we deviate from the paper and its authors' scripts. This is the only list; the pages in docs/ point here.

With a switch of config.Whp, one value of which is the paper's (or its authors') behaviour:
  switch             ours, if not the paper's    the paper's  where, and what it decides
  alpha              -                           5            equation.py: by how much what was lifted is lowered
  seen_translation   - (also penalty, -inf)      mean         equation.py: logit of a translation that has appeared
  seen_from          - (also at)                 after        anchors/translate.py: after its anchor, or at its end
  offset_context     - (also original)           translated   labels.py: the text of the baseline's logits in the ReLU
  offset             - (also contrast)           baseline     labels.py, soft.py: what the ReLU compares with
  labels             - (also soft)               hard         soft.py: learn the argmax, or the distribution
  mode               - (also fused)              offline      methods/whp.py: labels stored first, or made in the step
  match              longest                     first        anchors/matching.py: which of overlapping terms matches
  draw               key                         variant      anchors/translate.py: one translation a term and block
  repeat             - (also keep)               ignore       anchors/translate.py: train on a term that has occurred
  forbid             - (also keys)               none         anchors/translate.py: no term's first token is predicted
  block_bos          every                       piece        data/blocks.py: a BOS a block, or every 10,000 characters
  keep               - (also last)               best         stages/unlearn.py: kept_point
A dash: our default is the paper's value; in brackets what else there is. In more words:
  seen_from=at: the rule holds at the last token of an anchor already, whose label is the first after the translation.
  offset=contrast: v_base - alpha * ReLU(log p_reinf - log p_diluted), both on the original; `diluted` is the baseline
  fine-tuned on text to keep for as long as the reinforced one on the text to forget, so that what any fine-tuning
  changes cancels.
  labels=soft: softmax(v_generic) is learnt in the place of its argmax, from both models in memory or, with whp.top,
  from its stored likeliest tokens. The last step is kept (or what unlearn.reach chooses), whatever `keep` says.
  forbid=keys: the seen-translation rule holds at every position for the first tokens of every dictionary term too, so
  that the baseline alone names no term.

Without a switch:
  what               the paper's, or its authors'     ours
  matching           on token ids                     on characters, at the edges of words (anchors/matching.py)
  first tokens       of a translation, two: after a   three: also at the start of a text, where a tokenizer makes
                     space, and without one           another token there (anchors/translate.py: first_tokens)
  last position      of a block: dropped              kept: its label is the prediction of what follows the block
  last block         of a document: dropped           kept, padded (data/blocks.py)
  anchor over the    no rule is stated                translated whole in the block of its last token, an occurrence
    edge of a block                                   in both (anchors/translate.py)
  held-out 5%        of the blocks: held out from     held out from every stage: the reinforced model never sees
                     unlearning alone, and all of     them, nor does a baseline of our own (text.holdout). Half of
                     them choose the step             them choose the step (keep), the other half is reported
Of the rivals and metrics beside it:
  ria, fwf           all tokens of a text that        the tokens of the answer alone, after a question
                     states a wrong answer            (methods/answers.py; arXiv 2410.08827)
  idk                an answer drawn at every visit   one answer a question throughout; both learn the answer's tokens
                     of a question                    alone (methods/answers.py; arXiv 2401.06121)
  MUSE's VerbMem     128 tokens after a prompt of     128, or as many as the second half of a block has after its
                     MUSE's own files                 first half, if fewer (evals/members.py; arXiv 2407.06460)
"""
