#include <algorithm>

#include "constraint/json_values.h"

namespace qwen35::constraint {
namespace {

/// Decimal texts without a sign whose value lies between two bounds, digit by digit: while all digits so far are those
/// of a bound, the next one must not pass it. Integer parts are taken by their length, 1 to `most_digits`.
class Between {
 public:
  using Bound = JsonValues::Bound;
  Between(Expressions& out, const std::optional<Bound>& low, const std::optional<Bound>& high, std::size_t most_digits,
          std::size_t fraction)
      : out_(out), low_(low), high_(high), most_digits_(most_digits), fraction_(fraction) {}

  ExprId build() {
    std::vector<ExprId> lengths;
    for (length_ = 1; length_ <= most_digits_; ++length_) {
      const std::size_t low = low_ ? low_->integer.size() : 0;
      const std::size_t high = high_ ? high_->integer.size() : most_digits_ + 1;
      if (length_ < low || length_ > high) continue;
      lengths.push_back(from(0, length_ == low, length_ == high));
    }
    return out_.choice(std::move(lengths));
  }

 private:
  static unsigned digit(const Bound& bound, std::size_t at) {
    const std::size_t whole = bound.integer.size();
    if (at < whole) return static_cast<unsigned>(bound.integer[at] - '0');
    return at - whole < bound.fraction.size() ? static_cast<unsigned>(bound.fraction[at - whole] - '0') : 0;
  }

  [[nodiscard]] bool zeros_from(const Bound& bound, std::size_t at) const {
    for (; at < length_ + bound.fraction.size(); ++at) {
      if (digit(bound, at) != 0) return false;
    }
    return true;
  }

  /// Whether the number may end before position `at`.
  [[nodiscard]] bool may_end(std::size_t at, bool on_low, bool on_high) const {
    if (on_low && !(zeros_from(*low_, at) && low_->inclusive)) return false;
    return !on_high || !zeros_from(*high_, at) || high_->inclusive;
  }

  ExprId digits(std::size_t min, std::size_t max) {
    return out_.repeat(out_.byte_ranges({{'0', '9'}}), static_cast<std::uint32_t>(min),
                       static_cast<std::uint32_t>(max));
  }

  /// What may follow when neither bound is near any more.
  ExprId free(std::size_t at) {
    if (at > length_) return digits(0, length_ + fraction_ - at);
    const ExprId whole = digits(length_ - at, length_ - at);
    if (fraction_ == 0) return whole;
    return out_.sequence({whole, out_.optional(out_.sequence({out_.bytes("."), digits(1, fraction_)}))});
  }

  /// What may follow the first `at` digits; at `length_` the point is still to come.
  ExprId from(std::size_t at, bool on_low, bool on_high) {
    if (!on_low && !on_high && at > 0) return free(at);
    std::vector<ExprId> options;
    if (at >= length_ && may_end(at, on_low, on_high)) options.push_back(out_.bytes(""));
    if (at < length_ + fraction_) {
      ExprId next = more(at, on_low, on_high);
      if (at == length_) next = out_.sequence({out_.bytes("."), next});
      options.push_back(next);
    }
    return out_.choice(std::move(options));
  }

  ExprId more(std::size_t at, bool on_low, bool on_high) {
    const unsigned first = on_low ? digit(*low_, at) : at == 0 && length_ > 1 ? 1 : 0;
    const unsigned last = on_high ? digit(*high_, at) : 9;
    std::vector<ExprId> options;
    const auto add = [&](unsigned lo, unsigned hi, bool low, bool high) {
      if (lo > hi) return;
      const ExprId one = out_.byte_ranges({{static_cast<std::uint8_t>('0' + lo), static_cast<std::uint8_t>('0' + hi)}});
      // The point follows before the next digit when the integer part is complete.
      options.push_back(out_.sequence({one, from(at + 1, low, high)}));
    };
    if (on_low && on_high && first == last) {
      add(first, first, true, true);
    } else if (first <= last) {
      const unsigned inner_first = on_low ? first + 1 : first;
      const unsigned inner_last = on_high ? last - 1 : last;
      if (on_low) add(first, first, true, false);
      if (!on_high || last > 0) add(inner_first, inner_last, false, false);
      if (on_high) add(last, last, false, true);
    }
    return out_.choice(std::move(options));
  }

  Expressions& out_;
  const std::optional<Bound>& low_;
  const std::optional<Bound>& high_;
  std::size_t most_digits_;
  std::size_t fraction_;
  std::size_t length_ = 0;
};

/// Both halves of a range: from zero up as it is, below zero by absolute values.
ExprId signed_range(Expressions& out, const std::optional<JsonValues::Bound>& low,
                    const std::optional<JsonValues::Bound>& high, std::size_t digits, std::size_t fraction) {
  using Bound = JsonValues::Bound;
  std::vector<ExprId> parts;
  if (!high || !high->negative) {
    const std::optional<Bound> from = low && !low->negative ? low : Bound{};
    parts.push_back(Between(out, from, high, digits, fraction).build());
  }
  if (!low || low->negative) {
    std::optional<Bound> from = Bound{.integer = "0", .fraction = "", .negative = false, .inclusive = false};
    if (high && high->negative) from = high;
    parts.push_back(out.sequence({out.bytes("-"), Between(out, from, low, digits, fraction).build()}));
  }
  return out.choice(std::move(parts));
}

}  // namespace

ExprId JsonValues::digits(std::uint32_t min, std::uint32_t max) {
  return out_.repeat(out_.byte_ranges({{'0', '9'}}), min, max);
}

ExprId JsonValues::any_integer() {
  const ExprId positive = out_.sequence({out_.byte_ranges({{'1', '9'}}), digits(0, integer_digits - 1)});
  return out_.choice({out_.bytes("0"), out_.sequence({out_.optional(out_.bytes("-")), positive})});
}

ExprId JsonValues::any_number() {
  const ExprId positive = out_.sequence({out_.byte_ranges({{'1', '9'}}), digits(0, number_digits - 1)});
  const ExprId fraction = out_.sequence({out_.bytes("."), digits(1, number_digits)});
  const ExprId exponent = out_.sequence({one_of("eE"), out_.optional(one_of("+-")), digits(1, 2)});
  return out_.sequence({out_.optional(out_.bytes("-")), out_.choice({out_.bytes("0"), positive}),
                        out_.optional(fraction), out_.optional(exponent)});
}

ExprId JsonValues::integer(const std::optional<Bound>& low, const std::optional<Bound>& high) {
  return signed_range(out_, low, high, integer_digits, 0);
}

ExprId JsonValues::number(const std::optional<Bound>& low, const std::optional<Bound>& high,
                          std::size_t fraction_digits) {
  return signed_range(out_, low, high, number_digits, fraction_digits);
}

}  // namespace qwen35::constraint
