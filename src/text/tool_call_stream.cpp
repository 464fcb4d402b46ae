#include "text/tool_call_stream.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "text/python_json.h"
#include "text/unicode.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kCall = "<tool_call>";
constexpr std::string_view kCallEnd = "</tool_call>";
constexpr std::string_view kFunction = "<function=";
constexpr std::string_view kFunctionEnd = "</function>";
constexpr std::string_view kParameter = "<parameter=";
constexpr std::string_view kParameterEnd = "</parameter>";
constexpr int kMostEnds = 64;  // looked at for one value: keeps the whole parse linear

/// Length of the longest end of `text` that begins `word`.
std::size_t begun(std::string_view text, std::string_view word) {
  for (std::size_t length = std::min(text.size(), word.size() - 1); length > 0; --length) {
    if (text.ends_with(word.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

std::vector<ToolCallEvent> ToolCallStream::push(std::string_view piece) {
  buffer_.append(piece);
  return run();
}

std::vector<ToolCallEvent> ToolCallStream::finish() {
  ended_ = true;
  return run();
}

std::vector<ToolCallEvent> ToolCallStream::run() {
  while (step()) {
  }
  // What is done with goes in large strokes, so that each byte is moved a bounded number of times.
  if (begin_ > buffer_.size() / 2) {
    buffer_.erase(0, begin_);
    pos_ -= begin_;
    search_ -= begin_;
    look_ -= std::min(look_, begin_);
    if (first_end_ != std::string::npos) first_end_ -= begin_;
    begin_ = 0;
  }
  return std::exchange(events_, {});
}

/// Goes on by one element. False: nothing more is certain.
bool ToolCallStream::step() {
  switch (state_) {
    case State::text:
      return read_text();
    case State::function:
      return read_function();
    case State::parameters:
      return read_parameters();
    case State::value:
      return read_value();
    case State::after_function:
      return read_after_function();
    case State::function_name:
    case State::parameter_name:
      break;
  }
  const bool of_function = state_ == State::function_name;
  switch (read_name(of_function ? function_ : parameter_)) {
    case Name::whole:
      go(of_function ? State::parameters : State::value);
      return true;
    case Name::wrong:
      give_up();
      return true;
    case Name::open:
      return unfinished();
  }
  return false;
}

bool ToolCallStream::read_text() {
  const std::size_t mark = buffer_.find(kCall, search_);
  if (mark != std::string::npos) {
    emit_text(mark);
    pos_ = mark + kCall.size();
    function_.clear();
    go(State::function);
    return true;
  }
  emit_text(ended_ ? buffer_.size() : buffer_.size() - begun(rest(), kCall));
  pos_ = search_ = begin_;
  return false;
}

bool ToolCallStream::read_function() {
  skip_space();
  if (take(kFunction)) {
    arguments_.clear();
    go(State::function_name);
    return true;
  }
  if (may_become(kFunction)) return unfinished();
  give_up();
  return true;
}

/// The text up to `>` on the same line.
ToolCallStream::Name ToolCallStream::read_name(std::string& name) {
  const std::size_t end = buffer_.find_first_of(">\n", search_);
  search_ = end == std::string::npos ? buffer_.size() : end;
  if (end == std::string::npos) return Name::open;
  name = strip(std::string_view(buffer_).substr(pos_, end - pos_));
  const bool whole = buffer_[end] == '>' && !name.empty();
  pos_ = whole ? end + 1 : end;
  return whole ? Name::whole : Name::wrong;
}

bool ToolCallStream::read_parameters() {
  skip_space();
  if (take(kFunctionEnd)) {
    finish_call();
    go(State::after_function);
    return true;
  }
  if (take(kCallEnd)) {  // the function's own end was forgotten
    finish_call();
    go(State::text);
    return true;
  }
  if (take(kParameter)) {
    go(State::parameter_name);
    return true;
  }
  if (may_become(kFunctionEnd) || may_become(kCallEnd) || may_become(kParameter)) return unfinished();
  give_up();
  return true;
}

bool ToolCallStream::read_value() {
  while (ends_seen_ < kMostEnds) {
    const std::size_t end = buffer_.find(kParameterEnd, search_);
    if (end == std::string::npos) {
      search_ = std::max(search_, buffer_.size() - begun(rest(), kParameterEnd));
      break;
    }
    search_ = end;
    if (first_end_ == std::string::npos) first_end_ = end;
    look_ = std::max(look_, end + kParameterEnd.size());
    const std::string_view next = strip_left(std::string_view(buffer_).substr(look_));
    look_ = buffer_.size() - next.size();
    bool open = false;
    for (const std::string_view word : {kParameter, kFunctionEnd, kCallEnd}) {
      if (next.starts_with(word)) {
        finish_value(end);
        return true;
      }
      open = open || word.starts_with(next);
    }
    if (open && !ended_) return false;
    ++ends_seen_;
    ++search_;
  }
  if (!ended_ && ends_seen_ < kMostEnds) return false;
  if (first_end_ == std::string::npos) return unfinished();
  finish_value(first_end_);  // what follows it decides between no call and an unfinished one
  return true;
}

bool ToolCallStream::read_after_function() {
  skip_space();
  begin_ = pos_;
  if (take(kFunction)) {
    arguments_.clear();
    function_.clear();
    go(State::function_name);
    return true;
  }
  const bool may_end = may_become(kCallEnd);
  if (!ended_ && (may_end || may_become(kFunction))) return false;
  if (may_end) pos_ = buffer_.size();  // the answer is cut inside </tool_call>: the call is whole all the same
  if (!may_end && may_become(kFunction)) return unfinished();
  take(kCallEnd);
  go(State::text);
  return true;
}

/// One line end belongs to the markup on either side.
void ToolCallStream::finish_value(std::size_t end) {
  std::string_view value = std::string_view(buffer_).substr(pos_, end - pos_);
  if (value.starts_with('\n')) value.remove_prefix(1);
  if (value.ends_with('\n')) value.remove_suffix(1);
  arguments_.emplace_back(std::move(parameter_), value);
  pos_ = end + kParameterEnd.size();
  go(State::parameters);
}

void ToolCallStream::finish_call() {
  Json arguments = Json::object();
  // A repeated key keeps its first place and its last value. Past ordered_map's own insertion, which searches the whole
  // object.
  auto& items = arguments.get_ref<Json::object_t&>();
  std::unordered_map<std::string_view, std::size_t> places;
  for (const auto& [key, text] : arguments_) {
    Json value = typed_argument(tools_, function_, key, text);
    const auto [place, is_new] = places.try_emplace(key, items.size());
    if (is_new) {
      items.Json::object_t::Container::emplace_back(key, std::move(value));
    } else {
      items.begin()[static_cast<std::ptrdiff_t>(place->second)].second = std::move(value);
    }
  }
  ToolCallEvent event{.kind = ToolCallEvent::Kind::call};
  event.call = {function_, python_json(arguments)};
  events_.push_back(std::move(event));
  begin_ = pos_;
}

/// No call after all: what was read of it is text.
void ToolCallStream::give_up() {
  emit_text(pos_);
  go(State::text);
}

/// More text may still make it a call; at the end of the answer it is reported.
bool ToolCallStream::unfinished() {
  if (!ended_) return false;
  ToolCallEvent event{.kind = ToolCallEvent::Kind::unfinished};
  event.unfinished = {function_, buffer_.substr(begin_)};
  events_.push_back(std::move(event));
  begin_ = pos_ = buffer_.size();
  go(State::text);
  return false;
}

void ToolCallStream::skip_space() { pos_ = buffer_.size() - strip_left(rest()).size(); }

bool ToolCallStream::take(std::string_view word) {
  if (!rest().starts_with(word)) return false;
  pos_ += word.size();
  return true;
}

/// Whether all that is left is a beginning of `word`.
bool ToolCallStream::may_become(std::string_view word) const { return word.starts_with(rest()); }

void ToolCallStream::go(State state) {
  state_ = state;
  search_ = look_ = pos_;
  first_end_ = std::string::npos;
  ends_seen_ = 0;
  if (state == State::text) begin_ = pos_;
}

/// Gives the text up to `end` away.
void ToolCallStream::emit_text(std::size_t end) {
  if (end > begin_) {
    if (events_.empty() || events_.back().kind != ToolCallEvent::Kind::text) events_.emplace_back();
    events_.back().text.append(buffer_, begin_, end - begin_);
  }
  begin_ = end;
}

}  // namespace qwen35
