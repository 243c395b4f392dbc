"""Which scenarios a real API server cannot play, and why: what is not named here runs on both."""

from __future__ import annotations

from pathlib import Path

import pytest

EMBEDDED_ONLY: dict[str, tuple[str, ...]] = {
    "the world's clock is moved": (
        "test_beside_a_chain_that_is_unknown_for_a_day_the_workload_is_healed_without_its_vault",
        "test_pods_are_not_recycled_for_ever_for_a_value_that_every_sync_makes_anew",
        "test_beside_a_chain_that_is_gone_for_a_day_there_is_an_end_too",
        "test_a_single_replica_is_not_restarted_for_ever_either",
        "test_a_statefulset_of_one_is_in_its_heal_while_it_has_no_pod",
        "test_where_others_may_fill_the_secret_too_its_value_is_followed_as_often_as_it_changes",
        "test_s02_a_workload_that_was_held_up_for_long_is_not_recycled_before_new_pods_get_the_new_value_for_sure",
        "test_s16_a_restart_that_a_quota_keeps_from_its_new_pod_is_said_once_and_not_repeated",
        "test_s16_a_replica_that_goes_stale_again_under_the_same_versions_is_restarted_again",
        "test_s18_where_a_pod_fails_on_the_new_value_already_none_that_serves_is_replaced",
        "test_an_agent_that_is_ended_or_fails_says_no_value_with_its_last_words",
        "test_commands_say_no_value_in_a_world_where_others_do",
        "test_s05_nothing_is_deleted_where_the_policy_does_not_allow_it",
        "test_s07_a_soft_deleted_secret_leaves_everything_in_place_and_needs_one_sync_at_most_when_recovered",
        "test_s09_a_disabled_version_is_reported_with_the_newest_enabled_one_and_nothing_is_deleted",
        "test_s10_while_eso_cannot_read_the_vault_the_secret_stays_missing_and_nothing_is_tried",
        "test_s11_a_pod_that_started_on_the_restored_value_is_recycled_and_no_other",
        "test_s11_a_restored_old_secret_is_healed_and_pods_that_never_saw_it_are_never_called_stale",
        "test_s11_a_secret_deleted_and_restored_while_eso_is_down_is_missing_until_then_and_changed_if_it_is_old",
        "test_s11_what_eso_puts_back_is_no_reason_to_recycle_though_the_watch_tells_of_it_late",
        "test_s12_of_the_pods_that_started_while_it_was_down_only_those_go_that_are_stale_for_sure",
        "test_s12b_a_first_look_restarts_nothing_and_from_the_next_rotation_on_it_knows",
        "test_s12c_a_past_that_only_looks_like_a_rotation_makes_nobody_stale",
        "test_s18_other_workloads_do_not_try_what_failed_one",
        "test_s18b_another_good_value_ends_the_halt_with_a_canary_of_its_own",
        "test_s18b_the_old_value_as_a_new_version_ends_the_halt_without_another_pod",
        "test_s19_while_one_chain_fails_upstream_nothing_is_recycled",
        "test_s21_what_is_pinned_is_reported_and_never_healed",
        "test_s26_while_it_lasts_explain_of_another_namespace_promises_no_end_of_it",
        "test_s26_a_storm_is_over_when_it_has_stayed_calm_for_a_quarter_of_an_hour_also_for_the_next_leader",
        "test_s27_a_batch_that_has_begun_finishes_and_then_the_workload_holds",
        "test_s27_a_window_follows_the_wall_when_the_clocks_change",
        "test_s27_an_hour_that_the_zone_skips_holds_no_window",
        "test_s27_outside_the_window_no_pod_is_touched_until_it_opens",
        "test_s27_the_owners_sync_window_denies_a_force_sync",
        "test_s28_observe_mode_follows_a_chain_to_its_containers_and_writes_nothing",
        "test_s28_pods_stay_when_the_owner_of_their_secret_objects",
        "test_s37_a_budget_that_protects_broken_pods_is_named_with_the_remedy",
        "test_s41_without_its_memory_it_restarts_nothing_says_so_once_and_works_on",
    ),
    "the embedded API server is looked into, or answers what it is told to": (
        "test_a_rotation_with_all_heals_and_a_halt_says_no_value",
        "test_an_error_that_quotes_a_value_is_not_repeated",
        "test_an_outage_ends_no_refusal_and_no_drift_begins_anew_after_it",
        "test_explain_follows_a_rotation_from_the_vault_to_each_container",
        "test_explain_reads_one_namespace_only",
        "test_explain_says_what_its_answers_do_not_rest_on",
        "test_s04_a_key_that_only_our_watch_has_not_brought_yet_is_not_missing",
        "test_s08_a_vault_that_throttles_eso_brings_no_storm_of_force_syncs",
        "test_s28_a_pause_stops_every_write_and_says_why",
        "test_s30_a_watch_that_is_gone_is_no_trouble_at_all",
        "test_s30_an_api_server_that_is_away_is_told_once_however_many_collections_it_has",
        "test_s30_an_api_server_that_takes_a_second_for_each_answer_is_waited_for",
        "test_s30_an_api_server_that_throttles_is_left_in_peace_as_long_as_it_asks",
        "test_s30_connections_that_swallow_everything_are_given_up_after_a_minute_and_a_half",
        "test_s30_while_esos_webhook_is_down_the_force_sync_is_refused_and_tried_again_for_as_long_as_it_takes",
        "test_s34_a_leader_that_cannot_renew_its_lease_says_so_and_acts_again_when_it_can",
        "test_s34_a_leader_that_falls_asleep_between_its_reservation_and_the_call_does_not_make_the_call",
        "test_s34_without_the_right_to_the_lease_nobody_acts_and_it_is_said_once",
        "test_s44_who_started_while_nobody_looked_is_suspect_though_the_value_is_the_one_from_before",
        "test_scan_without_the_installations_key_answers_as_of_a_first_look_and_says_so",
        "test_what_is_out_of_reach_or_wrongly_set_gives_nothing_away",
        "test_what_may_not_be_read_is_named_and_the_rest_goes_on",
    ),
    "a right is taken away in the embedded world": ("test_s43_who_may_not_ask_is_told_what_to_grant",),
    "its count of writes is held to a clock that runs alone": (
        "test_s05b_a_pod_on_a_node_that_serves_the_old_object_is_not_called_fresh",
    ),
    "objects are put in as they are, with their past": (
        "test_s36_each_malformed_object_is_named_once_and_the_rest_goes_on",
        "test_s36_what_cannot_be_used_for_a_while_is_unknown_as_long",
    ),
}
"""Reason -> tests. They are skipped before a control plane is started for them."""

_FILES = {
    "test_node_returns.py": "the node that goes and comes is the embedded world's",
    "test_bad_input.py": "what is in the way is put there in the embedded world",
    "test_doctor_eso.py": "ESO's installation is the embedded world's",
    "test_doctor_rights.py": "rights are taken away in the embedded world",
    "test_doctor_surroundings.py": "what surrounds the agent is the embedded world's",
    "test_policy_in_force.py": "the rights that are given there go by the policy's file, and these have none",
    "test_doctor_vaults.py": "the vault has the trouble, and the API server no part in it",
}
"""Whole files -> reason."""

_REASONS = {name: reason for reason, names in EMBEDDED_ONLY.items() for name in names}
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip them where a real control plane was asked for."""
    mine = [item for item in items if item.path.parent == _HERE]
    if config.getoption("--real") or config.getoption("--cluster"):
        for item in mine:
            name = getattr(item, "originalname", item.name)
            if reason := _FILES.get(item.path.name) or _REASONS.get(name):
                item.add_marker(pytest.mark.skip(reason=f"on the embedded API server only: {reason}"))
