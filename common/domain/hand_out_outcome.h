/*
 * hand_out_outcome: the outcome "later" in a replica's reply to a callback. A scheduler that
 * supports it says so in a header of its callbacks; a replica puts hand-outs off only if the header
 * is present.
 */
#ifndef COMMON_DOMAIN_HAND_OUT_OUTCOME_H
#define COMMON_DOMAIN_HAND_OUT_OUTCOME_H

#define HAND_OUT_OUTCOMES_HEADER "Broadway-Outcomes"
#define HAND_OUT_LATER "later"

#endif
