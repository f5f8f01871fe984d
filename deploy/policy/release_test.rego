package spanline.release_test

import data.spanline.release

digest := "sha256:0d5ee3d1b0b6d0c2a7c7a0d4f1b1c7d1f2a3b4c5d6e7f8090a1b2c3d4e5f6071"

green := {
	"schema": "https://spanline.dev/schemas/gate/1",
	"generatedAt": "2026-11-21T12:00:00Z",
	"service": "fee-assistant",
	"release": "1.4.2",
	"complete": true,
	"unread": [],
	"runs": {"count": 100, "failed": 1, "aborted": 0},
	"builds": [{"runs": 100, "imageDigest": digest, "codeRevision": "aaaaaaa", "codeDirty": false}],
	"evaluations": [{"name": "faithfulness", "runId": "r1", "passed": true, "score": 0.93}],
	"guardrails": {"fee-answer": {"pass": 99, "fail": 1, "error": 0, "skip": 0}},
	"conflicts": [],
	"gaps": [],
}

conflict := {
	"kind": "prompt", "name": "fees", "version": "v7", "digest": "sha256:bb", "expectedDigest": "sha256:aa",
	"acknowledged": false, "runId": "r7", "runs": 3,
}

gap := {"missing": "the code revision", "how": "Set it.", "runs": 4, "runId": "r9"}

with_change(change) := object.union(green, change)

refused(change, words) if {
	doc := with_change(change)
	not release.allow with input as doc
	messages := release.deny with input as doc
	some message in messages
	contains(message, words)
}

test_green_is_allowed if {
	release.allow with input as green
	release.deny == set() with input as green
}

test_nothing_is_refused if {
	not release.allow with input as {}
	not release.allow with input as null
}

test_no_input_is_refused if not release.allow

test_each_missing_key_is_refused if {
	every key in object.keys(green) {
		not release.allow with input as object.remove(green, [key])
	}
}

test_wrong_types_are_refused if {
	refused({"runs": {"count": "many", "failed": 0, "aborted": 0}}, "not what")
	refused({"conflicts": null}, "not what")
	refused({"conflicts": {}}, "not what")
	refused({"conflicts": [{"kind": "prompt"}]}, "not what")
	refused({"gaps": [{"missing": ""}]}, "not what")
	refused({"evaluations": [{"name": "x", "runId": "r1", "passed": "yes"}]}, "not what")
	refused({"schema": "https://spanline.dev/schemas/gate/2"}, "not what")
}

test_without_evaluations if refused({"evaluations": []}, "no evaluation has passed")

test_failed_evaluation if {
	refused({"evaluations": array.concat(green.evaluations, [{"name": "tone", "runId": "r3", "passed": false}])}, "evaluation tone failed on 1 of 1, such as run r3")
}

test_one_red_among_many_is_still_red if {
	many := array.concat([e | some n in numbers.range(1, 99); e := {"name": "tone", "runId": sprintf("r%d", [n]), "passed": true}], [{"name": "tone", "runId": "red", "passed": false}])
	refused({"evaluations": many}, "failed on 1 of 100, such as run red")
	doc := with_change({"evaluations": many})
	release.allow with input as doc with data.release_limits as {"max_failed_evaluation_share": 0.05}
}

test_score_without_verdict if {
	refused({"evaluations": array.concat(green.evaluations, [{"name": "tone", "runId": "r3", "score": 0.99}])}, "tone has no verdict")
}

test_required_evaluation if {
	not release.allow with input as green with data.release_limits as {"required_evaluations": ["faithfulness", "toxicity"]}
	release.allow with input as green with data.release_limits as {"required_evaluations": ["faithfulness"]}
	messages := release.deny with input as green with data.release_limits as {"required_evaluations": ["toxicity"]}
	messages == {"evaluation toxicity has not passed"}
}

test_conflict if {
	refused({"conflicts": [conflict]}, "prompt:fees@v7 is two things")
	doc := with_change({"conflicts": [object.union(conflict, {"acknowledged": true})]})
	release.allow with input as doc
}

test_gap if {
	refused({"gaps": [gap]}, "the code revision is not known of 4 runs, such as r9")
	doc := with_change({"gaps": [gap]})
	release.allow with input as doc with data.release_limits as {"accepted_gaps": ["the code revision"]}
}

test_no_runs if refused({"runs": {"count": 0, "failed": 0, "aborted": 0}}, "0 of at least 1 runs")

test_too_few_runs if not release.allow with input as green with data.release_limits as {"min_runs": 101}

test_failed_runs if refused({"runs": {"count": 100, "failed": 3, "aborted": 0}}, "3 of 100 runs failed")

test_guardrail if refused({"guardrails": {"fee-answer": {"pass": 90, "fail": 5, "error": 5, "skip": 0}}}, "guardrail fee-answer: 10 of 100 failed")

test_skipped_guardrail_is_no_failure if {
	doc := with_change({"guardrails": {"fee-answer": {"pass": 0, "fail": 0, "error": 0, "skip": 9}}})
	release.allow with input as doc
}

test_unread_runs if {
	refused({"complete": false}, "not all runs were read")
	refused({"unread": ["r4"]}, "1 runs could not be read, such as r4")
}

test_other_image if {
	refused({"imageDigest": "sha256:ff"}, "no run of image sha256:ff")
	doc := with_change({"imageDigest": digest})
	release.allow with input as doc
}

test_two_images_under_one_release if {
	refused({"builds": array.concat(green.builds, [{"runs": 1, "imageDigest": "sha256:ff"}])}, "is 2 images")
	refused({"builds": array.concat(green.builds, [{"runs": 1, "codeRevision": "bbbbbbb"}])}, "is 2 revisions")
}

test_dirty_code if {
	dirty := {"builds": [{"runs": 1, "codeDirty": true}]}
	refused(dirty, "changes that no commit has")
	doc := with_change(dirty)
	release.allow with input as doc with data.release_limits as {"allow_dirty_code": true}
}

test_wrong_limits_are_refused if {
	every wrong in [{"min_run": 5}, {"max_failed_share": "much"}, {"max_failed_share": 2}, {"accepted_gaps": "all"}, [], "none", 7] {
		not release.allow with input as green with data.release_limits as wrong
		"release_limits has an unknown name or a wrong value" in release.deny with input as green with data.release_limits as wrong
	}
}

test_without_limits_the_defaults_hold if {
	release.allow with input as green with data.release_limits as {}
	doc := with_change({"gaps": [gap]})
	not release.allow with input as doc with data.release_limits as {}
}
