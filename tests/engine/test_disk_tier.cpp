// What the tier on a disk can be asked beside that: restarts, damage, neighbours, a full disk.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include <sys/stat.h>

#include "tests/engine/kv_tier_support.hpp"

using namespace troupe;
using namespace troupe::test;

namespace fs = std::filesystem;

BOOST_AUTO_TEST_SUITE(disk_tiers)

namespace {

/// Blocks in a folder, of all fingerprints, and what else is there.
std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> result;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      result.push_back(entry.path());
  return result;
}

void overwrite(const fs::path& file, std::uint64_t at, char value) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(static_cast<std::streamoff>(at));
  stream.put(value);
  BOOST_REQUIRE(stream.good());
}

char byte_at(const fs::path& file, std::uint64_t at) {
  std::ifstream stream(file, std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(at));
  return static_cast<char>(stream.get());
}

} // namespace

BOOST_AUTO_TEST_CASE(blocks_and_their_order_of_use_survive_a_restart) {
  const temporary_folder folder;
  {
    auto tier = open_tier(tier_options(folder.path(), 4));
    for (std::uint64_t number : {1, 2, 3, 4})
      save(*tier, number);
    BOOST_TEST(has(*tier, 1));
  }
  auto tier = open_tier(tier_options(folder.path(), 4));
  BOOST_TEST((tier->list() == numbers({2, 3, 4, 1})));
  BOOST_TEST((tier->save({numbered_hash(5), numbered_bytes(5)}).evicted == numbers({2})));
  BOOST_TEST((has(*tier, 1) && has(*tier, 3) && has(*tier, 4) && has(*tier, 5)));
}

BOOST_AUTO_TEST_CASE(a_folder_that_is_over_a_smaller_capacity_is_cut_down_when_it_is_opened) {
  const temporary_folder folder;
  {
    auto tier = open_tier(tier_options(folder.path(), 9));
    for (std::uint64_t number = 0; number < 9; ++number)
      save(*tier, number);
  }
  auto tier = open_tier(tier_options(folder.path(), 2));
  BOOST_TEST((tier->list() == numbers({7, 8})));
  BOOST_TEST(files_in(folder.path()).size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_flipped_bit_anywhere_in_a_file_is_a_miss_and_the_file_is_removed) {
  const temporary_folder folder;
  auto tier = open_tier(tier_options(folder.path(), 8));
  for (std::uint64_t at = 0; at < tier_file_bytes; ++at) {
    BOOST_REQUIRE(save(*tier, 1));
    const auto file = tier->path_of(numbered_hash(1));
    overwrite(file, at, static_cast<char>(byte_at(file, at) ^ (1 << at % 8)));
    BOOST_TEST(!tier->load(numbered_hash(1)), "byte " << at);
    BOOST_TEST(!fs::exists(file));
    BOOST_TEST(!tier->contains(numbered_hash(1)));
  }
  BOOST_TEST(tier->counts().damaged == tier_file_bytes);
  BOOST_TEST((save(*tier, 1) && has(*tier, 1)));
}

BOOST_AUTO_TEST_CASE(a_file_of_any_other_length_is_a_miss_and_is_removed) {
  const temporary_folder folder;
  auto tier = open_tier(tier_options(folder.path(), 8));
  for (std::uint64_t length = 0; length < tier_file_bytes + 3; ++length) {
    if (length == tier_file_bytes)
      continue;
    BOOST_REQUIRE(save(*tier, 1));
    fs::resize_file(tier->path_of(numbered_hash(1)), length);
    BOOST_TEST(!tier->load(numbered_hash(1)), "length " << length);
    BOOST_TEST(!fs::exists(tier->path_of(numbered_hash(1))));
  }
}

BOOST_AUTO_TEST_CASE(a_truncated_file_is_not_listed_after_a_restart) {
  const temporary_folder folder;
  fs::path file;
  {
    auto tier = open_tier(tier_options(folder.path(), 8));
    save(*tier, 1);
    save(*tier, 2);
    file = tier->path_of(numbered_hash(2));
  }
  fs::resize_file(file, tier_file_bytes - 1);
  auto tier = open_tier(tier_options(folder.path(), 8));
  BOOST_TEST((tier->list() == numbers({1})));
  BOOST_TEST(!fs::exists(file));
}

BOOST_AUTO_TEST_CASE(another_blocks_file_under_a_blocks_name_is_a_miss) {
  const temporary_folder folder;
  auto tier = open_tier(tier_options(folder.path(), 8));
  save(*tier, 1);
  save(*tier, 2);
  fs::rename(tier->path_of(numbered_hash(2)), tier->path_of(numbered_hash(1)));
  BOOST_TEST(!has(*tier, 1));
  BOOST_TEST(!has(*tier, 2));
}

BOOST_AUTO_TEST_CASE(what_is_no_regular_file_is_a_miss_and_nobody_waits_for_it) {
  const temporary_folder folder;
  auto tier = open_tier(tier_options(folder.path(), 8));
  save(*tier, 1);
  save(*tier, 2);
  const auto pipe = tier->path_of(numbered_hash(1)), link = tier->path_of(numbered_hash(2));
  fs::remove(pipe);
  BOOST_REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  fs::rename(link, folder.path() / "elsewhere");
  fs::create_symlink(folder.path() / "elsewhere", link);
  BOOST_TEST((!has(*tier, 1) && !has(*tier, 2)));
  BOOST_TEST(fs::exists(folder.path() / "elsewhere"));
}

BOOST_AUTO_TEST_CASE(blocks_of_another_fingerprint_are_not_found) {
  const temporary_folder folder;
  save(*open_tier(tier_options(folder.path(), 8)), 1);
  auto differ = [&](auto change) {
    auto fingerprint = test_fingerprint();
    change(fingerprint);
    BOOST_TEST((hash_of(fingerprint) != hash_of(test_fingerprint())));
    auto tier = open_tier({folder.path(), 8 * 2 * tier_file_bytes, fingerprint});
    BOOST_TEST(tier->list().empty());
    BOOST_TEST(!tier->load(numbered_hash(1)));
  };
  differ([](auto& of) { of.model[15] = 1; });
  differ([](auto& of) { of.backend = "other"; });
  differ([](auto& of) { of.kv_type = "f32"; });
  differ([](auto& of) { of.kv_type = "int8"; });
  differ([](auto& of) { of.hashing = "sha256"; });
  differ([](auto& of) { of.tokens_per_block = 32; });
  differ([](auto& of) { of.block_bytes = {501}; });
  BOOST_TEST(has(*open_tier(tier_options(folder.path(), 8)), 1));
}

BOOST_AUTO_TEST_CASE(a_block_moved_into_another_fingerprints_folder_is_a_miss) {
  const temporary_folder folder;
  auto ours = open_tier(tier_options(folder.path(), 8)),
       theirs = open_tier(tier_options(folder.path(), 8, test_fingerprint("other")));
  save(*ours, 1);
  save(*theirs, 1);
  fs::copy_file(theirs->path_of(numbered_hash(1)), ours->path_of(numbered_hash(1)),
                fs::copy_options::overwrite_existing);
  BOOST_TEST(!has(*ours, 1));
  BOOST_TEST(has(*theirs, 1));
}

BOOST_AUTO_TEST_CASE(the_capacity_is_that_of_all_fingerprints_and_the_unused_one_goes_first) {
  const temporary_folder folder;
  {
    auto old = open_tier(tier_options(folder.path(), 4, test_fingerprint("last year's")));
    for (std::uint64_t number : {1, 2, 3})
      save(*old, number);
  }
  auto tier = open_tier(tier_options(folder.path(), 4));
  for (std::uint64_t number : {1, 2, 3}) {
    const auto saved = tier->save({numbered_hash(number), numbered_bytes(number)});
    BOOST_TEST((saved.saved && saved.evicted.empty())); // What goes is none of ours.
    BOOST_TEST(files_in(folder.path()).size() <= 4u);
  }
  BOOST_TEST((tier->list() == numbers({1, 2, 3})));
}

BOOST_AUTO_TEST_CASE(what_a_dead_server_has_left_half_written_is_removed_and_what_a_living_one_writes_is_not) {
  const temporary_folder folder;
  fs::path leftover, fresh;
  {
    auto tier = open_tier(tier_options(folder.path(), 8));
    const auto own = folder.path() / folder_name(hash_of(test_fingerprint()));
    leftover = own / "tmp" / "17-1-1-1";
    fresh = own / "tmp" / "18-1-1-1";
  }
  for (const auto& file : {leftover, fresh})
    std::ofstream(file) << "half";
  fs::last_write_time(leftover, fs::file_time_type::clock::now() - std::chrono::hours(1));
  auto tier = open_tier(tier_options(folder.path(), 8));
  BOOST_TEST(!fs::exists(leftover));
  BOOST_TEST(fs::exists(fresh));
  BOOST_TEST(tier->list().empty());
}

BOOST_AUTO_TEST_CASE(nothing_is_left_half_written_when_all_is_well) {
  const temporary_folder folder;
  auto tier = open_tier(tier_options(folder.path(), 8));
  for (std::uint64_t number = 0; number < 8; ++number)
    save(*tier, number);
  BOOST_TEST(files_in(folder.path()).size() == 8u);
}

BOOST_AUTO_TEST_CASE(files_that_are_no_blocks_are_left_alone) {
  const temporary_folder folder;
  const auto own = folder.path() / folder_name(hash_of(test_fingerprint()));
  const std::vector<fs::path> others{folder.path() / "notes.txt", folder.path() / "ab" / std::string(64, 'a'),
                                     own / "fingerprint", own / "ab" / "ab", own / "cd" / std::string(64, 'a')};
  for (const auto& file : others) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << "mine";
  }
  auto tier = open_tier(tier_options(folder.path(), 1));
  save(*tier, 1);
  save(*tier, 2);
  for (const auto& file : others)
    BOOST_TEST(fs::exists(file), file);
}

BOOST_AUTO_TEST_CASE(a_disk_that_takes_no_more_ends_saving_with_one_sentence_and_reading_goes_on) {
  const temporary_folder folder;
  auto tier = open_tier(tier_options(folder.path(), 8));
  BOOST_REQUIRE(save(*tier, 1));
  {
    const file_size_limit full(tier_file_bytes / 2);
    const auto saved = tier->save({numbered_hash(2), numbered_bytes(2)});
    BOOST_TEST(!saved.saved);
    BOOST_REQUIRE(saved.problem);
    BOOST_TEST((saved.problem->code == errc::io));
    BOOST_TEST(saved.problem->message.find(folder.path().string()) != std::string::npos);
    BOOST_TEST(files_in(folder.path()).size() == 1u); // Nothing half-written.
    BOOST_TEST(!tier->save({numbered_hash(3), numbered_bytes(3)}).problem);
  }
  BOOST_TEST(!save(*tier, 3));
  BOOST_TEST(save(*tier, 1)); // It is there.
  BOOST_TEST(has(*tier, 1));
  BOOST_TEST(!tier->counts().accepts);
  auto again = open_tier(tier_options(folder.path(), 8));
  BOOST_TEST((has(*again, 1) && save(*again, 2)));
}

BOOST_AUTO_TEST_CASE(a_disk_that_took_no_more_is_tried_again_after_a_pause_and_its_troubles_are_told_once) {
  const temporary_folder folder;
  auto options = tier_options(folder.path(), 8);
  std::chrono::steady_clock::time_point now{};
  options.now = [&] { return now; };
  auto tier = open_tier(options);
  auto try_to_save = [&](std::uint64_t number) { return tier->save({numbered_hash(number), numbered_bytes(number)}); };
  {
    const file_size_limit full(tier_file_bytes / 2);
    BOOST_TEST(try_to_save(1).problem.has_value());
    now += options.pause;
    const auto again = try_to_save(1); // It is tried, and goes wrong as before.
    BOOST_TEST((!again.saved && !again.problem));
  }
  now += options.pause - std::chrono::seconds(1);
  BOOST_TEST((!try_to_save(1).saved && !tier->counts().accepts)); // The pause after the second attempt.
  now += std::chrono::seconds(1);
  BOOST_TEST((try_to_save(1).saved && tier->counts().accepts && try_to_save(2).saved));
  const file_size_limit full(tier_file_bytes / 2);
  BOOST_TEST(try_to_save(3).problem.has_value()); // Another trouble, told again.
}

BOOST_AUTO_TEST_CASE(the_order_of_a_chain_survives_a_restart) {
  const temporary_folder folder;
  {
    auto tier = open_tier(tier_options(folder.path(), 4));
    BOOST_TEST(save(*tier, 1));
    BOOST_TEST(save(*tier, 9));
    for (std::uint64_t number : {2, 3}) // Later, and nevertheless evicted earlier.
      BOOST_TEST(tier->save({numbered_hash(number), numbered_bytes(number), numbered_hash(number - 1)}).saved);
    BOOST_TEST((tier->list() == numbers({3, 2, 1, 9})));
  }
  BOOST_TEST((open_tier(tier_options(folder.path(), 4))->list() == numbers({3, 2, 1, 9})));
}

BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_had_is_an_error_that_names_it) {
  const temporary_folder folder;
  std::ofstream(folder.path() / "file") << "no folder";
  const auto made = disk_tier::open(tier_options(folder.path() / "file" / "cache", 8));
  BOOST_REQUIRE(!made);
  BOOST_TEST((made.error().code == errc::io));
  BOOST_TEST(made.error().message.find("cache") != std::string::npos);
  const auto small = disk_tier::open({folder.path(), tier_file_bytes - 1, test_fingerprint()});
  BOOST_REQUIRE(!small);
  BOOST_TEST((small.error().code == errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(a_folder_of_its_own_is_readable_by_nobody_else) {
  const temporary_folder folder;
  const auto cache = folder.path() / "new";
  auto tier = open_tier(tier_options(cache, 8));
  save(*tier, 1);
  BOOST_TEST((fs::status(cache).permissions() == fs::perms::owner_all));
  BOOST_TEST(
    (fs::status(tier->path_of(numbered_hash(1))).permissions() == (fs::perms::owner_read | fs::perms::owner_write)));
}

BOOST_AUTO_TEST_CASE(a_folder_that_somebody_empties_while_it_is_used_is_filled_again) {
  const temporary_folder folder;
  auto tier = open_tier(tier_options(folder.path(), 8));
  save(*tier, 1);
  for (const auto& entry : fs::directory_iterator(folder.path()))
    fs::remove_all(entry.path());
  BOOST_TEST(!has(*tier, 1));
  BOOST_TEST(save(*tier, 1));
  BOOST_TEST(has(*tier, 1));
}

BOOST_AUTO_TEST_CASE(what_another_server_saves_is_found_and_what_it_evicts_is_a_miss) {
  const temporary_folder folder;
  auto one = open_tier(tier_options(folder.path(), 3)), two = open_tier(tier_options(folder.path(), 3));
  save(*one, 1);
  BOOST_TEST(has(*two, 1));
  for (std::uint64_t number : {2, 3, 4})
    save(*two, number);
  BOOST_TEST(!has(*one, 1));
  BOOST_TEST((save(*one, 1) && has(*two, 1)));
}

BOOST_AUTO_TEST_CASE(what_another_server_has_evicted_is_reported_when_the_folder_is_looked_at_again) {
  const temporary_folder folder;
  auto one = open_tier(tier_options(folder.path(), 16)), two = open_tier(tier_options(folder.path(), 16));
  save(*one, 1);
  two->drop(numbered_hash(1));
  std::vector<block_hash> gone;
  for (std::uint64_t number = 2; number < 8; ++number)
    std::ranges::copy(one->save({numbered_hash(number), numbered_bytes(number)}).evicted, std::back_inserter(gone));
  BOOST_TEST((gone == numbers({1})));
}

BOOST_AUTO_TEST_CASE(servers_at_once_on_one_folder_read_only_right_blocks_and_keep_to_the_capacity) {
  const temporary_folder folder;
  constexpr std::uint64_t room = 16, servers = 4;
  std::atomic<std::uint64_t> wrong = 0, loaded = 0;
  std::vector<std::thread> threads;
  for (std::uint64_t server = 0; server < servers; ++server)
    threads.emplace_back([&, server] {
      auto tier = disk_tier::open(tier_options(folder.path(), room));
      std::uint64_t random = server + 1;
      for (int i = 0; tier && i < 400; ++i) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        const auto number = (random >> 33) % 24;
        if (auto found = (*tier)->load(numbered_hash(number))) {
          ++loaded;
          wrong += **found != *numbered_bytes(number);
        } else if (!(*tier)->save({numbered_hash(number), numbered_bytes(number)}).saved) {
          ++wrong;
        }
      }
      wrong += !tier || (*tier)->counts().damaged > 0 || !(*tier)->check_integrity();
    });
  for (auto& thread : threads)
    thread.join();
  BOOST_TEST(wrong == 0u);
  BOOST_TEST(loaded > 0u);
  // Each may go over by the eighth that it writes before it looks again.
  BOOST_TEST(files_in(folder.path()).size() <= room + servers * room / 8);
}

BOOST_AUTO_TEST_SUITE_END()
